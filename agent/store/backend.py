"""Protocols that a database implements for ``StoreJournal``: transaction and backend."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from agent.run.journal import Projection, Recorded
from agent.run.written import Written
from agent.store.erasable import Compacting, ErasureTables
from agent.store.rules.row import Row
from flightloop.acts import Act
from flightloop.events import RunEvent
from flightloop.keys import ApiKey
from flightloop.runs import Approval, Interrupt, Run, RunStatus
from flightloop.usage import Amounts
from flightloop.verdicts import AuditRecord
from guardrails.audit_check import Unreadable
from guardrails.audit_keys import NO_KEYS, AuditKeys
from guardrails.policy_texts import PolicyTexts

T = TypeVar("T")


@dataclass(frozen=True)
class StoredResponse:
    """The stored response to a request with an idempotency key; ``body`` is JSON."""

    digest: str
    body: str


@dataclass(frozen=True)
class RunFilter:
    """Conditions of a list of runs; None: any value."""

    agent: str | None = None
    status: RunStatus | None = None
    session_id: str | None = None
    subject: str | None = None
    """Id of the subject."""
    parent: str | None = None
    """Id of the run whose sub-runs are listed."""
    roots: bool = False
    """Whether sub-runs are left out."""


@dataclass(frozen=True)
class WriteFilter:
    """Conditions of a list of writes; None: any value."""

    besides: str
    """Id of the run whose own writes are omitted."""
    args_sha256: str | None = None
    tool: str | None = None
    before: int | None = None
    """Only writes with a smaller number."""


@dataclass(frozen=True)
class Fork:
    """A run that began with copied steps of another run."""

    run_id: str
    tenant_id: str
    session_id: str
    root_id: str
    """The original run, at the end of the chain of origins."""
    root_session_id: str
    """Session of the original run."""
    copied_at: float | None = None
    """Time of the latest copies while the run itself does not exist yet."""


@dataclass(frozen=True)
class SessionOwner:
    """To whom a session belongs. ``subject``: id of the subject; None: anonymous."""

    subject: str | None


@dataclass(frozen=True)
class Reserved:
    """Reservation of a model call in progress."""

    id: str
    """Id of the run or completion."""
    tenant_id: str
    session_id: str | None
    holder: str
    """Process that makes the call."""
    amounts: Amounts = field(default_factory=Amounts)
    subject: str | None = None
    """Id of the subject; None: anonymous."""


@dataclass(frozen=True)
class AuditFilter:
    """Conditions of a list of audit records; None: any value."""

    run_id: str | None = None
    act: Act | None = None
    actor: str | None = None
    """Id or name of the actor."""


@dataclass(frozen=True)
class Head:
    """End of an audit log."""

    seq: int
    sha256: str
    key_id: str | None = None


@dataclass(frozen=True)
class AuditContext:
    """What the store needs to write audit records."""

    keys: AuditKeys = NO_KEYS
    policies: PolicyTexts = field(default_factory=PolicyTexts)
    """Policies whose texts are stored when they decide something for the first time."""


@dataclass(frozen=True)
class CountedCall:
    """What a call adds to a sum that a policy limits over time."""

    tenant_id: str
    name: str
    """Name of the sum (``guardrails.limit_share``)."""
    run_id: str
    call_id: str
    at: float
    """Time of the transaction that journaled the call's intent."""
    until: float | None
    """Time from which on no limit counts the call; None: never."""
    amount: int
    """Millionths."""


class Transaction(ErasureTables, Protocol):
    """Reads and writes of one atomic step. Synchronous: nothing in it awaits.

    Callers raise before their first write or not at all, so that an error leaves nothing half-written.
    """

    @property
    def audit_context(self) -> AuditContext: ...

    def run(self, run_id: str) -> Row | None: ...
    def add_run(self, row: Row) -> None: ...
    def save_run(self, row: Row, before: Row) -> None:
        """Updates a run; ``before`` is its row as read in this transaction."""
        ...

    def page_runs(self, tenant_id: str, wanted: RunFilter, after: str | None, limit: int) -> tuple[list[Run], bool]:
        """A page of runs, newest first, and whether there are more."""
        ...

    def session_owner(self, tenant_id: str, session_id: str) -> SessionOwner | None:
        """The subject of a session's first run that is not erased; None: there is none."""
        ...

    def count_runs(self, tenant_id: str, statuses: Collection[RunStatus]) -> dict[RunStatus, int]: ...

    def over(self, run_id: str) -> bool:
        """Whether a run has ended or its cancellation was requested."""
        ...

    def uncancelled_children(self, run_id: str, limit: int) -> list[str]:
        """Ids of a run's oldest open sub-runs whose cancellation has not been requested yet."""
        ...

    def with_uncancelled_children(self, limit: int) -> list[str]:
        """Ids of runs that are ``over`` but have ``uncancelled_children`` sub-runs."""
        ...

    def claimable(
        self, now: datetime, gone: Collection[str] = (), besides: Collection[str] = (), held: Collection[str] = ()
    ) -> Row | None:
        """The oldest run that is queued, or whose lease has expired or belongs to a worker in ``gone``."""
        ...

    def holders(self) -> list[str]:
        """Workers that hold runs."""
        ...

    def cancelled(self, worker: str) -> list[str]:
        """Ids of the worker's runs whose cancellation was requested."""
        ...

    def extend_lease(self, run_id: str, until: datetime) -> None: ...

    def last_seq(self, run_id: str) -> int: ...
    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        """Adds events of a run. ``documents``: the events as JSON, if they were already serialised."""
        ...

    def events(self, run_id: str, after: int, limit: int) -> list[RunEvent]: ...
    def read_all(self, after: int, limit: int) -> list[Recorded]: ...

    def root(self, run_id: str) -> str:
        """Id of the run at the end of a fork's chain of origins; the run's own id if it is not a fork."""
        ...

    def root_session(self, tenant_id: str, session_id: str) -> str:
        """Id of the session at the end of a fork's chain of origins; the given id if the session has no fork."""
        ...

    def fork(self, run_id: str) -> Fork | None: ...
    def save_fork(self, fork: Fork) -> None:
        """Adds a fork, or updates ``copied_at`` of an existing one."""
        ...

    def drop_fork(self, run_id: str) -> None: ...
    def unfinished_forks(self, before: datetime, limit: int) -> list[str]:
        """Ids of forks whose latest copies were made before this time and whose run does not exist."""
        ...

    def drop_events(self, run_id: str, limit: int) -> int:
        """Removes a run's last events and returns how many were removed."""
        ...

    def add_write(self, tenant_id: str, session_id: str, root: str, written: Written) -> None: ...
    def end_write(self, run_id: str, call_id: str, ok: bool, uncertain: bool, told: str) -> None:
        """Stores a write's result, with its text in ``told``; does nothing if the write was not added."""
        ...

    def write_under_way(self, run_id: str, args_sha256: str | None, tool: str | None) -> int | None:
        """Number of the run's first write without a result, with this hash or of this tool; None if there is none."""
        ...

    def writes(self, tenant_id: str, session_id: str, root: str, wanted: WriteFilter, limit: int) -> list[Written]:
        """Writes of a session, newest first. Those stored under ``root`` are marked as ``kin``."""
        ...

    def audit_head(self, tenant_id: str) -> Head | None:
        """End of a tenant's audit log, even if its last record was made unreadable; None: the log is empty."""
        ...

    def add_audit(self, records: Sequence[AuditRecord]) -> None: ...
    def audit(self, tenant_id: str, wanted: AuditFilter, after: int, limit: int) -> list[AuditRecord]: ...
    def stored_audit(self, tenant_id: str, after: int | None, limit: int) -> list[AuditRecord | Unreadable]:
        """Records to verify, in order. ``after`` None: all that are there, whatever their numbers."""
        ...

    def audit_tenants(self) -> list[str]:
        """Tenants that have audit records, in order."""
        ...

    def policy_text(self, sha256: str) -> str | None:
        """Text stored for the policy with this hash."""
        ...

    def add_policy(self, sha256: str, text: str) -> None: ...
    def policies(self) -> dict[str, str]:
        """All stored texts, by hash."""
        ...

    def approval(self, approval_id: str) -> tuple[str, Approval] | None:
        """An approval with the id of its tenant; None if there is no such approval."""
        ...

    def add_approval(self, tenant_id: str, approval: Approval) -> None: ...
    def save_approval(self, approval: Approval) -> None: ...
    def page_approvals(
        self, tenant_id: str, status: str | None, run_id: str | None, after: str | None, limit: int
    ) -> tuple[list[Approval], bool]:
        """A page of approvals, newest first, and whether there are more."""
        ...

    def count_approvals(self, tenant_id: str, status: str) -> int: ...
    def run_approvals(self, run_id: str) -> list[Approval]: ...
    def pending_approvals(self, run_id: str) -> list[Approval]: ...
    def count_pending(self, run_id: str) -> int: ...
    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        """Pending approvals that have expired, the longest overdue first."""
        ...

    def epoch(self) -> int: ...
    def next_epoch(self) -> int: ...
    def interrupt(self, interrupt_id: str) -> Interrupt | None: ...
    def add_interrupt(self, interrupt: Interrupt) -> None: ...
    def save_interrupt(self, interrupt: Interrupt) -> None: ...
    def forget_interrupts(self, tenant_id: str, kept: int) -> list[Interrupt]:
        """Removes a tenant's cleared and single-run interrupts except the newest ``kept``; returns the removed ones."""
        ...

    def interrupts(self, tenant_id: str | None, cleared_after: datetime | None) -> list[Interrupt]:
        """Active interrupts and those cleared after the given time, newest first. ``tenant_id`` None: all tenants."""
        ...

    def latched(self, tenant_id: str) -> int:
        """Number of active interrupts, not counting those of single runs."""
        ...

    def answer(self, tenant_id: str, key: str) -> StoredResponse | None: ...
    def add_answer(self, tenant_id: str, key: str, answer: StoredResponse, at: datetime) -> None: ...
    def drop_answer(self, tenant_id: str, key: str) -> None: ...

    def add_key(self, key: ApiKey, sha256: str) -> None: ...
    def save_key(self, key: ApiKey) -> None: ...
    def key_by_digest(self, sha256: str) -> ApiKey | None: ...
    def key(self, tenant_id: str, key_id: str) -> ApiKey | None: ...
    def page_keys(self, tenant_id: str, after: str | None, limit: int) -> tuple[list[ApiKey], bool]:
        """A page of a tenant's keys, newest first, and whether there are more."""
        ...

    def count_keys(self, tenant_id: str) -> int: ...
    def deciders(self, tenant_id: str, limit: int) -> list[ApiKey]: ...  # valid, unbound keys that may decide
    def drop_revoked_key(self, tenant_id: str) -> bool:
        """Removes the tenant's oldest revoked key. Returns whether there was one."""
        ...

    def spend(
        self, tenant_id: str, session_id: str | None, day: str, used: Amounts, subject: str | None = None
    ) -> None:
        """Adds amounts to the usage of a tenant on a day and, if given, of a session and of a subject on that day."""
        ...

    def spent_since(self, tenant_id: str, day: str) -> Amounts: ...
    def spent_in_session(self, tenant_id: str, session_id: str) -> Amounts: ...
    def spent_by_subject(self, tenant_id: str, subject: str, day: str) -> Amounts:
        """Usage of a subject since a day."""
        ...

    def reserved(
        self,
        tenant_id: str,
        session_id: str | None,
        but: str = "",
        gone: Collection[str] = (),
        subject: str | None = None,
    ) -> Amounts:
        """Sum of a tenant's, session's or subject's reservations, except the one with id ``but`` and those of ``gone``
        holders."""
        ...

    def reservation(self, reservation_id: str) -> Reserved | None: ...
    def save_reservation(self, reserved: Reserved) -> None: ...
    def drop_reservation(self, reservation_id: str) -> None: ...
    def drop_reservations(self, holders: Collection[str]) -> None: ...
    def reservers(self) -> list[str]:
        """Holders of reservations."""
        ...

    def add_counted(self, counted: Sequence[CountedCall]) -> None: ...
    def sum_counted(self, tenant_id: str, names: Collection[str], since: float | None, besides: tuple[str, str]) -> int:
        """Total amount of a tenant's counted calls with one of the names, made after ``since``, except the call with
        the run and call id ``besides``."""
        ...

    def is_counted(self, run_id: str, call_id: str) -> bool: ...
    def drop_counted(self, run_id: str, call_id: str) -> None: ...
    def prune_counted(self, now: float, most: int) -> None:
        """Removes counted calls whose time is over, at most ``most``."""
        ...

    def projection(self, name: str) -> Projection | None: ...
    def projections(self, prefix: str) -> dict[str, Projection]: ...
    def save_projection(self, name: str, projection: Projection) -> None: ...


class Backend(Compacting, Protocol):
    @property
    def audit(self) -> AuditContext: ...

    async def read(self, work: Callable[[Transaction], T]) -> T: ...

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` exclusively and durably: once this returns, its writes survive a power failure."""
        ...

    async def appear(self, worker: str) -> None:
        """Marks a worker as alive until this backend is closed. Idempotent."""
        ...

    async def gone(self, workers: Sequence[str]) -> frozenset[str]:
        """The given workers that were marked as alive but have ended, for any reason."""
        ...

    def sure_s(self) -> float:
        """Seconds since a ``gone`` worker's last sign of life up to which its process has certainly ended.

        Later, the process may still be running and may have lost only its connection.
        """
        ...

    async def close(self) -> None: ...

    def listen(self, on_topic: Callable[[str | None], None]) -> bool:
        """Subscribes to the writes of all processes: ``on_topic`` receives their topics (``agent.store.notifier``).

        It is called from any thread; None means that notifications may have been missed. Idempotent. Returns False if
        the backend can't listen at all or at the moment.
        """
        ...
