"""API keys, roles, and the rights of each role."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field, model_validator

from flightloop.content import Body, Wire
from flightloop.subject import GivenSubject, SpeaksFor, Subject


class Right(StrEnum):
    READ = "read"  # runs, events, approvals, figures and the audit log of the tenant
    DECIDE = "decide"  # approve and deny calls
    OPERATE = "operate"  # start, stop, resume, fork and rate runs, ask for completions, raise and clear stops
    ADMINISTER = "administer"  # create and revoke keys, choose the policy of a fork


class Role(StrEnum):
    VIEWER = "viewer"  # reads
    APPROVER = "approver"  # also decides approvals; starts, stops and changes nothing
    OPERATOR = "operator"  # also starts, stops and rates runs
    ADMIN = "admin"  # also creates and revokes keys

    @property
    def rights(self) -> frozenset[Right]:
        return RIGHTS[self]

    def may(self, right: Right) -> bool:
        return right in RIGHTS[self]


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.APPROVER: frozenset({Right.READ, Right.DECIDE}),
    Role.OPERATOR: frozenset({Right.READ, Right.DECIDE, Right.OPERATE}),
    Role.ADMIN: frozenset(Right),
}
"""What each role may do. Not a ladder: a new role may have any set of rights."""


def roles_with(right: Right) -> str:
    """The roles that have a right, as words: ``approver, operator or admin``."""
    *others, last = [role.value for role in Role if role.may(right)]
    return f"{', '.join(others)} or {last}" if others else last


class ApiKeyCreate(Body):
    """Body of ``POST /v1/keys``."""

    name: str = Field(min_length=1, max_length=64)
    """Holder of the key, recorded with its decisions."""
    role: Role = Role.OPERATOR
    tenant_id: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """None: the caller's tenant. Only the deployment's own key may name another one."""
    speaks_for: SpeaksFor | None = None
    """Subjects that the key may name; None: its own if it has one, else any."""
    subject: GivenSubject | None = None
    """The only subject that the key speaks for. Such a key is bound: it sees and starts this subject's runs only."""

    @model_validator(mode="after")
    def _is_bound_or_not(self) -> ApiKeyCreate:
        if (self.subject is not None) != (self.speaks_for is SpeaksFor.ONE) and self.speaks_for is not None:
            raise ValueError('"subject" and "speaks_for": "one" belong together: give both, or only the subject')
        if self.subject is not None and self.role in (Role.APPROVER, Role.ADMIN):
            raise ValueError(
                f"a key that is bound to a subject can't have the role {self.role}: use operator or viewer"
            )
        return self

    @property
    def speaks(self) -> SpeaksFor:
        """``speaks_for``, or what it is if it is left out."""
        return self.speaks_for or (SpeaksFor.ANY if self.subject is None else SpeaksFor.ONE)


class ApiKey(Wire):
    """A key as listed; the server stores only its digest."""

    id: str
    tenant_id: str
    name: str
    role: Role
    speaks_for: SpeaksFor = SpeaksFor.ANY
    subject: Subject | None = None
    """The only subject that the key speaks for, if it is bound to one."""
    created_at: datetime
    created_by: str = ""
    revoked_at: datetime | None = None

    @property
    def may_decide(self) -> bool:
        """Whether the key's holder may decide approvals while it is valid."""
        return self.role.may(Right.DECIDE) and self.speaks_for is not SpeaksFor.ONE


class Caller(Wire):
    """Holder of a request's key; the response of ``GET /v1/whoami``."""

    key_id: str
    """``own`` for a key configured at the deployment's start."""
    name: str
    """Recorded with the holder's decisions."""
    role: Role
    tenant_id: str
    speaks_for: SpeaksFor = SpeaksFor.ANY
    subject: Subject | None = None


class NewApiKey(ApiKey):
    """A new key, returned once when it is created."""

    key: str
