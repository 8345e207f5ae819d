"""What a database has to offer so that ``StoreJournal`` can keep a journal in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from agent.run.journal import Projection, Recorded, Written
from agent.store.rules.row import Row
from flightloop.events import RunEvent
from flightloop.keys import ApiKey
from flightloop.runs import Approval, Interrupt, Run, RunStatus
from flightloop.usage import Amounts
from flightloop.verdicts import AuditRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What was answered under an idempotency key; ``body`` is JSON."""

    digest: str
    body: str


@dataclass(frozen=True)
class RunFilter:
    agent: str | None = None
    status: RunStatus | None = None
    session_id: str | None = None
    parent: str | None = None
    roots: bool = False


@dataclass(frozen=True)
class Fork:
    """A run that began with steps of another one.

    ``root_id``, ``root_session_id``: the run, and its session, that its line of origins goes back to. ``copied_at``:
    while the run itself is not there yet, the time of its latest copies.
    """

    run_id: str
    tenant_id: str
    session_id: str
    root_id: str
    root_session_id: str
    copied_at: float | None = None


@dataclass(frozen=True)
class Reserved:
    """What a model call that goes on now may use; ``id`` is its run's, or its completion's."""

    id: str
    tenant_id: str
    session_id: str | None
    holder: str
    amounts: Amounts = field(default_factory=Amounts)


class Transaction(Protocol):
    """Reads and writes of one atomic step; nothing in it awaits.

    Whoever writes through it raises before its first write, or not at all.
    """

    def run(self, run_id: str) -> Row | None: ...
    def add_run(self, row: Row) -> None: ...
    def save_run(self, row: Row, before: Row) -> None:
        """``before``: as it was read in this transaction."""
        ...

    def page_runs(self, tenant_id: str, wanted: RunFilter, after: str | None, limit: int) -> tuple[list[Run], bool]:
        """Newest first; and whether there are more."""
        ...

    def count_runs(self, tenant_id: str, statuses: Collection[RunStatus]) -> dict[RunStatus, int]: ...

    def over(self, run_id: str) -> bool:
        """Whether a run has ended, or somebody has asked to cancel it."""
        ...

    def untold(self, run_id: str, limit: int) -> list[str]:
        """Runs that work for it, have not ended, and that nobody has asked to cancel; the oldest."""
        ...

    def with_untold(self, limit: int) -> list[str]:
        """Some of the runs that are over and have such runs below them."""
        ...

    def claimable(
        self, now: datetime, gone: Collection[str] = (), besides: Collection[str] = (), held: Collection[str] = ()
    ) -> Row | None:
        """The oldest run that is queued, or whose lease is over or held by a worker that is gone."""
        ...

    def holders(self) -> list[str]:
        """Workers that hold runs."""
        ...

    def cancelled(self, worker: str) -> list[str]:
        """Runs that the worker holds and that somebody has asked to cancel."""
        ...

    def extend_lease(self, run_id: str, until: datetime) -> None: ...

    def last_seq(self, run_id: str) -> int: ...
    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        """``documents``: the events as JSON, where somebody has made it before."""
        ...

    def events(self, run_id: str, after: int, limit: int) -> list[RunEvent]: ...
    def read_all(self, after: int, limit: int) -> list[Recorded]: ...

    def root(self, run_id: str) -> str:
        """The run that a fork's line of origins goes back to; the run itself if it is no fork."""
        ...

    def root_session(self, tenant_id: str, session_id: str) -> str:
        """Likewise the session that a fork's goes back to."""
        ...

    def fork(self, run_id: str) -> Fork | None: ...
    def save_fork(self, fork: Fork) -> None:
        """Of one that is there already only ``copied_at`` changes."""
        ...

    def drop_fork(self, run_id: str) -> None: ...
    def unfinished_forks(self, before: datetime, limit: int) -> list[str]:
        """Some whose latest copies were made before a time."""
        ...

    def drop_events(self, run_id: str, limit: int) -> int:
        """Removes a run's last events; how many there were."""
        ...

    def add_write(self, tenant_id: str, session_id: str, root: str, written: Written) -> None: ...
    def end_write(self, run_id: str, call_id: str, ok: bool, uncertain: bool, told: str) -> None:
        """Nothing, if the call was not added."""
        ...

    def writes(self, tenant_id: str, session_id: str, root: str, args_sha256: str | None, limit: int) -> list[Written]:
        """Newest first; those with this root are ``kin``."""
        ...

    def last_audit(self, tenant_id: str) -> AuditRecord | None: ...
    def add_audit(self, records: Sequence[AuditRecord]) -> None: ...
    def audit(self, tenant_id: str, run_id: str | None, after: int, limit: int) -> list[AuditRecord]: ...

    def approval(self, approval_id: str) -> tuple[str, Approval] | None:
        """With its tenant."""
        ...

    def add_approval(self, tenant_id: str, approval: Approval) -> None: ...
    def save_approval(self, approval: Approval) -> None: ...
    def page_approvals(
        self, tenant_id: str, status: str | None, run_id: str | None, after: str | None, limit: int
    ) -> tuple[list[Approval], bool]:
        """Newest first; and whether there are more."""
        ...

    def count_approvals(self, tenant_id: str, status: str) -> int: ...
    def run_approvals(self, run_id: str) -> list[Approval]: ...
    def pending_approvals(self, run_id: str) -> list[Approval]: ...
    def count_pending(self, run_id: str) -> int: ...
    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        """Pending ones whose time is over, for longest first."""
        ...

    def epoch(self) -> int: ...
    def next_epoch(self) -> int: ...
    def interrupt(self, interrupt_id: str) -> Interrupt | None: ...
    def add_interrupt(self, interrupt: Interrupt) -> None: ...
    def save_interrupt(self, interrupt: Interrupt) -> None: ...
    def forget_interrupts(self, tenant_id: str, kept: int) -> list[Interrupt]:
        """Removes a tenant's cleared ones and those of single runs, but for the newest; those that it removed."""
        ...

    def interrupts(self, tenant_id: str | None, cleared_after: datetime | None) -> list[Interrupt]:
        """Active ones and those cleared after a time, newest first; of all tenants for None."""
        ...

    def latched(self, tenant_id: str) -> int:
        """Number of active ones, without those of single runs."""
        ...

    def answer(self, tenant_id: str, key: str) -> Answer | None: ...
    def add_answer(self, tenant_id: str, key: str, answer: Answer, at: datetime) -> None: ...
    def drop_answer(self, tenant_id: str, key: str) -> None: ...

    def add_key(self, key: ApiKey, sha256: str) -> None: ...
    def save_key(self, key: ApiKey) -> None: ...
    def key_by_digest(self, sha256: str) -> ApiKey | None: ...
    def keys(self, tenant_id: str) -> list[ApiKey]:
        """Newest first."""
        ...

    def spend(self, tenant_id: str, session_id: str | None, day: str, used: Amounts) -> None:
        """Adds to what tenant and session have used."""
        ...

    def spent_since(self, tenant_id: str, day: str) -> Amounts: ...
    def spent_in_session(self, tenant_id: str, session_id: str) -> Amounts: ...
    def reserved(self, tenant_id: str, session_id: str | None, but: str = "", gone: Collection[str] = ()) -> Amounts:
        """By a tenant's calls, or a session's; without one by its id, and those of holders that are gone."""
        ...

    def reservation(self, reservation_id: str) -> Reserved | None: ...
    def save_reservation(self, reserved: Reserved) -> None: ...
    def drop_reservation(self, reservation_id: str) -> None: ...
    def drop_reservations(self, holders: Collection[str]) -> None: ...
    def reservers(self) -> list[str]:
        """Those that hold reservations."""
        ...

    def projection(self, name: str) -> Projection | None: ...
    def save_projection(self, name: str, projection: Projection) -> None: ...


class Backend(Protocol):
    async def read(self, work: Callable[[Transaction], T]) -> T: ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` alone and durably: when this returns, what it wrote survives a power cut."""
        ...

    async def appear(self, worker: str) -> None:
        """Lets others know, for as long as this backend is open, that the worker is there. May be called again."""
        ...

    async def gone(self, workers: Sequence[str]) -> frozenset[str]:
        """Those of the workers that have appeared somewhere and ended since, however they ended."""
        ...

    def sure_s(self) -> float:
        """How recent the last sign of a worker that is gone must be, so that more than its line has surely ended."""
        ...

    async def close(self) -> None: ...

    def listen(self, heard: Callable[[str | None], None]) -> bool:
        """Has ``heard`` called with the topics of writes of all processes (``agent.store.notifier``), in any thread.

        None stands for writes that may have been missed. May be called again. Returns False where the backend can't
        listen, or not now.
        """
        ...
