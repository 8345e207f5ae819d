"""Acts port: Protocol of the audit log, apart from the verdicts and acts that follow from writes to the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flightloop.acts import Act, Actor
from flightloop.audit_check import AuditCheck
from guardrails.checkpoints import Checkpoints

OWN_KEY = "own"
"""Id of a key that was configured at the deployment's start, in every tenant."""
PERSON_ID = "person_"
"""Prefix of the ids of persons who log in with OIDC, which no id of a stored key has."""
DEPLOYMENT = "default"
"""Tenant of the deployment itself. Its log has the acts that concern no tenant or all tenants."""
CHECKPOINTS = "checkpoints"
"""Prefix of the projections that remember how many lines a file of checkpoints has: at least ``cursor``, and at most
``state["to"]``."""


@dataclass(frozen=True)
class LogEnd:
    """Last record of a tenant's log."""

    seq: int
    sha256: str


@dataclass(frozen=True)
class NewAct:
    """An act to record."""

    act: Act
    actor: Actor
    object: str | None
    """What it was performed on."""
    details: Mapping[str, Any] = field(default_factory=dict)


class Acts(Protocol):
    async def record(
        self, tenant_id: str, act: Act, actor: Actor, object: str | None, details: Mapping[str, Any]
    ) -> None:
        """Adds an act to the tenant's log. Acts with an effect in the journal are recorded with it instead."""
        ...

    async def record_with(
        self, tenant_id: str, new: Sequence[NewAct], name: str, state: Mapping[str, Any], expected_cursor: int
    ) -> None:
        """Adds acts and moves a projection to the next cursor, in one transaction, and stores the texts of policies
        that the acts name as ``after``.

        Raises:
            Conflict: another process has moved the projection's cursor.
        """
        ...

    async def tenants(self) -> list[str]:
        """Tenants that have audit records."""
        ...

    async def ends(self) -> dict[str, LogEnd]:
        """The end of each tenant's log, all of one moment."""
        ...

    async def unsealed(self) -> dict[str, LogEnd]:
        """By tenant, the last record of versions without keys; tenants without such records are left out."""
        ...

    async def check(
        self, tenant_id: str, read: Callable[[], Checkpoints] | None, after: int = 0, limit: int = 1000
    ) -> AuditCheck:
        """Verifies a part of a tenant's log.

        Args:
            read: reads the file of checkpoints; None: there is none for this journal.
            after: ``next_after`` of the previous part.
        """
        ...

    async def policy(self, sha256: str) -> str | None:
        """Canonical JSON of the policy with this hash; None: it has decided nothing yet.

        Raises Conflict if the stored text was changed.
        """
        ...
