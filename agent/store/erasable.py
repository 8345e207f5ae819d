"""The part of a transaction that erasure needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.run.erasure import ErasureFilter
from flightloop.events import RunEvent
from flightloop.runs import Run
from flightloop.verdicts import AuditRecord

BEGUN, DONE = 1, 2
"""Progress of a run's erasure in the database; 0: its content is there."""


@dataclass(frozen=True)
class Numbered:
    """A run with its number, which grows with each run."""

    number: int
    run: Run


class ErasureTables(Protocol):
    def erasable(self, wanted: ErasureFilter, ended: bool, after: int, limit: int) -> list[Numbered]:
        """Runs whose erasure is not done, with a number above ``after``, by number; a page."""
        ...

    def half_erased(self, tenant_id: str | None, limit: int) -> list[str]:
        """Ids of runs whose erasure has begun and is not done; ``tenant_id`` None: of all tenants."""
        ...

    def mark_erased(self, run_id: str, progress: int) -> None:
        """Stores how far a run's erasure is. With ``DONE``, the run is no longer found by its subject."""
        ...

    def replace_events(self, events: Sequence[RunEvent]) -> None: ...

    def erase_writes(self, run_id: str) -> None:
        """Removes the arguments and results of a run's writes, but not their hashes and outcomes."""
        ...

    def find_answers(self, tenant_id: str, containing: str, after: str, limit: int) -> list[tuple[str, str]]:
        """Keys, above ``after``, and texts of stored responses that contain a text; a page."""
        ...

    def replace_answer(self, tenant_id: str, key: str, body: str) -> None: ...

    def drop_answers(self, tenant_id: str | None, before: datetime, limit: int) -> int:
        """Removes responses that are older; returns how many were removed."""
        ...

    def drop_subject_spending(self, tenant_id: str, subject: str) -> None:
        """Removes a subject's usage and reservations; the tenant's usage stays."""
        ...

    def replace_audit(self, record: AuditRecord) -> None: ...


class Compacting(Protocol):
    async def compact(self, whole: bool) -> list[str]:
        """Removes what the database keeps of changed rows. Returns the problems (``agent.run.erasure.Erasure``)."""
        ...
