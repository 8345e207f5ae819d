"""Erasure port: removes the content of ended runs from the journal's database, in steps that can be repeated.

A run is marked as erased first, so that nothing can be added to it or made from it any more. Its content follows in
portions. If the process dies in between, the next erasure finds the run and continues.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from flightloop.acts import Actor
from flightloop.runs import Run

Reason = Literal["request", "age"]


@dataclass(frozen=True)
class ErasureFilter:
    """Which runs; None: any value. At least one of ``subject``, ``session_id`` and ``before`` is given."""

    tenant_id: str | None
    subject: str | None = None
    """Id of the subject."""
    session_id: str | None = None
    before: datetime | None = None
    """Only runs that ended before this time."""

    @property
    def reason(self) -> Reason:
        return "age" if self.before is not None else "request"


@dataclass(frozen=True)
class BesidesRuns:
    """What was erased besides runs."""

    answers: int = 0
    """Stored responses to requests with an idempotency key."""
    stops: int = 0
    """Stops that named the subject."""
    keys: int = 0
    """API keys that were bound to the subject; they are revoked."""
    active_stops: tuple[str, ...] = ()
    """Stops that still hold for the subject, and so still name it."""


class Erasure(Protocol):
    async def open_runs(self, wanted: ErasureFilter) -> list[str]:
        """Ids of runs that have not ended; none for an erasure by age."""
        ...

    def runs(self, wanted: ErasureFilter) -> AsyncIterator[Run]:
        """Ended runs whose content is there, wholly or in part, oldest first."""
        ...

    async def unfinished(self, tenant_id: str | None) -> list[str]:
        """Ids of runs whose erasure began and has not finished."""
        ...

    async def erase(self, run_id: str, reason: Reason, actor: Actor) -> None:
        """Erases the content of an ended run; does nothing if it is erased already.

        Raises:
            NotFound: no such run.
            Conflict: it has not ended, or was resumed.
        """
        ...

    async def erase_besides(self, wanted: ErasureFilter, actor: Actor) -> BesidesRuns:
        """Erases what the database has about a subject, a session or an age outside of runs."""
        ...

    async def compact(self, whole: bool = True) -> list[str]:
        """Removes what databases keep of changed rows, so that no erased text is left in the database's files.

        Args:
            whole: whether to rewrite the database's files, for which all its users have to wait. Without it, texts that
                earlier versions of the platform deleted may be left, and PostgreSQL's files are not changed.

        Returns:
            The problems, such as that other processes use the database.
        """
        ...
