"""API keys and roles."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from flightloop.content import Body, Wire


class Role(StrEnum):
    VIEWER = "viewer"  # reads
    OPERATOR = "operator"  # also starts, stops, approves and rates runs
    ADMIN = "admin"  # also creates and revokes keys

    def allows(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class ApiKeyCreate(Body):
    """Body of ``POST /v1/keys``."""

    name: str = Field(min_length=1, max_length=64)
    """Holder of the key, recorded with its decisions."""
    role: Role = Role.OPERATOR
    tenant_id: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """None: the caller's tenant. Only the deployment's own key may name another one."""


class ApiKey(Wire):
    """A key as listed; the server stores only its digest."""

    id: str
    tenant_id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str = ""
    revoked_at: datetime | None = None


class Caller(Wire):
    """Holder of a request's key; the response of ``GET /v1/whoami``."""

    key_id: str
    """``own`` for a key configured at the deployment's start."""
    name: str
    """Recorded with the holder's decisions."""
    role: Role
    tenant_id: str


class NewApiKey(ApiKey):
    """A new key, returned once when it is created."""

    key: str
