"""Who may do what after a login: rules map persons and groups of an issuer to roles and tenants."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.api.auth import DEFAULT_TENANT, Principal
from agent.api.oidc.token import TokenVerifier
from agent.run.acts import PERSON_ID
from flightloop.acts import Actor, ActorKind
from flightloop.errors import Unauthorized
from flightloop.keys import Right, Role

EMAIL = "email"
_NAME = re.compile(r"[!-~]{1,128}")
"""Names in approvals and in the audit log: no blanks, and no letters that only look like ASCII."""
_SUBJECT = re.compile(r"[ -~]{1,255}")
"""Claim ``sub`` (OpenID Connect Core 1.0, section 2)."""


class PersonRule(BaseModel):
    """Role of one person, or of the members of a group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str | None = Field(default=None, pattern=r"^[!-~]{1,128}$")
    """Name of a person: the verified e-mail address. Case does not matter."""
    group: str | None = Field(default=None, min_length=1, max_length=256)
    role: Role
    tenant_id: str = Field(default=DEFAULT_TENANT, pattern=r"^[\w.-]{1,64}$")

    @field_validator("person")
    @classmethod
    def _in_lower_case(cls, value: str | None) -> str | None:
        return value.lower() if value else value

    @model_validator(mode="after")
    def _names_one(self) -> PersonRule:
        if (self.person is None) == (self.group is None):
            raise ValueError('a rule names either a "person" or a "group"')
        return self

    def fits(self, name: str, groups: Sequence[str]) -> bool:
        return self.person == name if self.person is not None else self.group in groups

    @property
    def decider(self) -> Actor:
        """For a group an actor that no person is, because its members are unknown until they log in."""
        name = f"person:{self.person}" if self.person is not None else f"group:{self.group}"
        return Actor(kind=ActorKind.PERSON, name=name)


class OidcPersons:
    """Implements ``agent.api.auth.Persons``.

    Args:
        rules: the first rule that fits a person gives their role.
        name_claim: claim with a person's name. The claim ``email`` must be verified by the issuer.
        groups_claim: claim with the names of a person's groups.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        rules: Sequence[PersonRule],
        *,
        name_claim: str = EMAIL,
        groups_claim: str = "groups",
    ) -> None:
        self._verifier, self._rules = verifier, tuple(rules)
        self._name_claim, self._groups_claim = name_claim, groups_claim

    async def principal(self, token: str) -> Principal:
        """The person with an identity token.

        Raises:
            Unauthorized: the token is not valid, or no rule fits the person.
            IssuerUnavailable: the issuer's keys can't be read.
        """
        claims = await self._verifier.claims(token)
        name, subject = self._name(claims), claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise Unauthorized("the token's 'sub' must be 1 to 255 ASCII characters")
        for rule in self._rules:
            if rule.fits(name, _groups(claims.get(self._groups_claim))):
                identity = hashlib.sha256(f"{self._verifier.issuer.url}\n{subject}".encode()).hexdigest()
                key = f"{PERSON_ID}{identity[:32]}"
                return Principal(rule.tenant_id, f"person:{name}", key, rule.role, kind=ActorKind.PERSON)
        raise Unauthorized(f"{name} has no role here: an entry of FLIGHTLOOP_OIDC_ROLES must name them or their group")

    def deciders(self, tenant_id: str) -> list[Actor]:
        """Persons and groups of a tenant that may decide approvals."""
        return [rule.decider for rule in self._rules if rule.tenant_id == tenant_id and rule.role.may(Right.DECIDE)]

    def _name(self, claims: dict[str, Any]) -> str:
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Unauthorized(f"the token's '{self._name_claim}' must be 1 to 128 ASCII characters without blanks")
        if self._name_claim == EMAIL and claims.get("email_verified") is not True:
            raise Unauthorized("the issuer has not verified this e-mail address ('email_verified')")
        return name.lower()


def _groups(claim: object) -> list[str]:
    """Names of groups: a list, or a single one."""
    if isinstance(claim, str):
        return [claim]
    return [group for group in claim if isinstance(group, str)] if isinstance(claim, list) else []
