"""Result of verifying an audit log on the server, which has the keys and the checkpoints."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from flightloop.content import Wire


class AuditProblem(Wire):
    """Something that was changed, removed or added."""

    problem: str
    seq: int | None = None
    """Record at which it was found; None: it concerns the checkpoints or a policy."""


class LastCheckpoint(Wire):
    """The latest checkpoint of a tenant's audit log."""

    number: int
    """Number within the file of checkpoints."""
    seq: int
    at: datetime


class AuditCheck(Wire):
    """Verification of a part of a tenant's audit log; follow ``next_after`` for the rest.

    Only the last part (``has_more`` is false) says what the checkpoints tell about the log's end.
    """

    tenant_id: str
    records: int
    """Number of records verified in this part."""
    sealed: int
    """Number of them whose key was checked. The others are older than the keys."""
    problems: list[AuditProblem] = Field(default_factory=list)
    has_more: bool = False
    next_after: int | None = None
    checkpoint: LastCheckpoint | None = None
    unseen: int = 0
    """Records after the last checkpoint. If they were removed, nothing would tell."""
    notes: list[str] = Field(default_factory=list)
    """What the verification could not check."""
