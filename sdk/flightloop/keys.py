"""API keys and what their holders may do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from flightloop.content import Body, Wire


class Role(StrEnum):
    VIEWER = "viewer"  # reads
    OPERATOR = "operator"  # and starts, stops, approves and rates runs
    ADMIN = "admin"  # and makes and revokes keys

    def allows(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class ApiKeyCreate(Body):
    """Body of ``POST /v1/keys``."""

    name: str = Field(min_length=1, max_length=64)
    """Who or what has it: it stands beside what they decide."""
    role: Role = Role.OPERATOR
    tenant_id: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """None: the caller's own. Only the deployment's own key may name another one."""


class ApiKey(Wire):
    """A key as it is listed: the server keeps its digest alone."""

    id: str
    tenant_id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str = ""
    revoked_at: datetime | None = None


class Caller(Wire):
    """Whose key a request carried: the answer of ``GET /v1/whoami``."""

    key_id: str
    """``own``: a key that the deployment was started with."""
    name: str
    """Stands beside what the key's holder decides."""
    role: Role
    tenant_id: str


class NewApiKey(ApiKey):
    """A key as it is answered once, when it is made."""

    key: str
