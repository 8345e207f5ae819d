"""Journal port: Protocol of the store that has all mutable state of the agent.

Every write is one transaction that checks the run's transitions and, for a worker's events, the fence of its lease.
Appending ``Judged`` also writes an audit record, and appending ``ApprovalRequested`` an approval, so that no caller
can forget them. Implementations: ``agent.store`` (SQL, in-memory).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from agent.run.acts import Acts
from agent.run.approval_store import ApprovalStore
from agent.run.lease import Lease
from agent.run.ledger import Ledger
from agent.run.limits import CallShares, LimitSums
from agent.run.written import Written
from flightloop.acts import Act, Actor
from flightloop.events import (
    CancelRequested,
    FeedbackGiven,
    OutcomeVerified,
    RunCreated,
    RunEnded,
    RunEvent,
    RunResumed,
)
from flightloop.runs import Interrupt, Page, Run, RunStatus
from flightloop.verdicts import AuditRecord, Verdict

if TYPE_CHECKING:
    from agent.run.state import RunState
    from guardrails.interrupt import InterruptSnapshot

PAGE = 1000
Released = Literal[RunStatus.QUEUED, RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT]
"""Statuses with which a worker can release a run."""
WITHOUT_LEASE = (CancelRequested, RunResumed, FeedbackGiven, OutcomeVerified, RunEnded)
"""Events that can be appended without a lease; RunEnded only while no worker holds the run."""


@dataclass(frozen=True)
class Claim:
    run: Run
    lease: Lease


@dataclass(frozen=True)
class Idempotency:
    """An ``Idempotency-Key`` header and the digest of the payload."""

    key: str
    digest: str


@dataclass(frozen=True)
class Created:
    run: Run
    """The new run. If ``replayed``, the run as it was returned to the first request."""
    replayed: bool = False


@dataclass(frozen=True)
class Appended:
    """State of the run after ``events``, whose ``seq``, ``run_id``, ``step`` and ``at`` are filled in."""

    state: RunState
    events: tuple[RunEvent, ...]
    refused: frozenset[str] = frozenset()
    """Ids of calls whose intents were not written because a limit over time has no room for them."""


@dataclass(frozen=True)
class Recorded:
    """An event and its global position, which increases over all runs and tenants."""

    position: int
    tenant_id: str
    event: RunEvent


@dataclass(frozen=True)
class Projection:
    """A fold over all events up to position ``cursor``."""

    cursor: int
    state: dict[str, Any]


class Journal(ApprovalStore, Protocol):
    @property
    def acts(self) -> Acts: ...

    @property
    def ledger(self) -> Ledger:
        """Shared budgets of sessions and tenants, stored with the events in the same transactions."""
        ...

    @property
    def limits(self) -> LimitSums: ...

    # -- runs -------------------------------------------------------------------------------------

    async def create(
        self,
        created: RunCreated,
        idempotency: Idempotency | None = None,
        record: Sequence[Verdict] = (),
        actor: Actor | None = None,
    ) -> Created:
        """Writes a run and its first event; fills in ``run_id`` and ``at`` where they are missing.

        A fork begins with copies of the origin's first steps: decisions, calls and results. Many steps are copied in
        several transactions; the run becomes visible with the last one.
        The verdicts in ``record`` are audited in the same transaction as ``actor``'s, unless the request is a replay.

        Raises:
            IdempotencyMismatch: the tenant used the key for another payload.
            NotFound: the tenant has no run with the origin's id.
            Conflict: a call of the origin's step has no result yet, the step is the final answer, or the session
                belongs to another subject.
            InvalidRequest: the origin has no such step.
        """
        ...

    async def get(self, tenant_id: str, run_id: str) -> Run:
        """The run. Raises NotFound if the tenant has no run with this id."""
        ...

    async def replayed(self, tenant_id: str, idempotency: Idempotency) -> Run | None:
        """The run that an earlier request with the key created, as it was then; None: there is none.

        Raises:
            IdempotencyMismatch: the tenant used the key for another payload.
        """
        ...

    async def check_session(self, tenant_id: str, session_id: str, subject: str | None) -> bool:
        """Whether the session has runs.

        Args:
            subject: id of the subject that wants to use the session; None: an anonymous one.

        Raises:
            Conflict: the runs are another subject's.
        """
        ...

    async def runs(
        self,
        tenant_id: str,
        *,
        agent: str | None = None,
        status: RunStatus | None = None,
        session_id: str | None = None,
        subject: str | None = None,
        parent: str | None = None,
        roots: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Run]:
        """A page of runs, newest first, bounded by ``limit`` and the page size.

        ``after`` is the previous page's ``next_after`` (a run id). Raises NotFound if it is unknown.

        Args:
            subject: only runs on behalf of the subject with this id.
            parent: only sub-runs of this run.
            roots: only runs that are not sub-runs.
        """
        ...

    async def writes(
        self, run: Run, args_sha256: str | None = None, tool: str | None = None, limit: int = 500
    ) -> list[Written]:
        """Calls of other runs that change something, newest first, in the run's session and the sessions that are
        connected with it by forks.

        ``args_sha256`` and ``tool`` select calls with this hash or of this tool. If the run itself has begun such a
        call that has no result yet, only earlier ones are returned.
        """
        ...

    async def doubted(self, run: Run) -> bool:
        """Whether somebody was asked if a write is what the user meant, in the run's session or in those that forks
        connect with it."""
        ...

    async def append(
        self,
        run_id: str,
        events: Sequence[RunEvent],
        lease: Lease | None = None,
        children: Sequence[RunCreated] = (),
        shares: CallShares = (),
    ) -> Appended:
        """Writes events in one transaction.

        Without a lease only the events in ``WITHOUT_LEASE`` are allowed. ``children`` are sub-runs created in the same
        transaction, each with an id and a parent. When a sub-run ends, ``AgentReturned`` is appended to its parent
        in the same transaction. When a run ends or is cancelled, its sub-runs are cancelled: a few dozen in the same
        transaction, more in later ones. From the first transaction on, none of them can be claimed, and their
        workers see the cancellation.

        ``shares`` are what calls, by id, add to limits over time. A call whose intent is among the events is counted in
        the same transaction, once. If a limit has no room for it, its intent and sub-run are left out.

        Raises:
            NotFound: no such run.
            LeaseLost: the lease no longer holds the run.
            Conflict: an event does not fit the run's state.
        """
        ...

    async def events(self, tenant_id: str, run_id: str, after: int = 0, limit: int = 1000) -> list[RunEvent]:
        """A run's events with ``seq > after``, in order, bounded by ``limit`` and the page size.

        Raises:
            NotFound: no such run.
        """
        ...

    async def wait(self, run_id: str, after: int, timeout_s: float) -> bool:
        """Waits at most ``timeout_s`` for events with ``seq > after``; returns whether there are any."""
        ...

    async def read_all(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Events of all runs with ``position > after``, in order, bounded by ``limit`` and the page size."""
        ...

    # -- leases -----------------------------------------------------------------------------------

    async def claim(
        self,
        worker: str,
        ttl_s: float,
        besides: Sequence[Collection[str]] = ((),),
        unless: Callable[[], bool] = lambda: False,
        held: Collection[str] = (),
    ) -> Claim | None:
        """Claims the oldest run that is queued or whose lease has expired; writes ``RunStarted``.

        Args:
            besides: sets of tenants to skip, tried in order until a run is found.
            unless: called right before the claim; if it returns True, nothing is claimed.
            held: runs that the worker is still executing; they are skipped even if their leases have expired.

        A worker that ends, for any reason, loses its leases at once. Names of worker processes are never reused.
        """
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Extends a lease by ``ttl_s`` from now. Raises LeaseLost."""
        ...

    async def release(self, lease: Lease, status: Released = RunStatus.QUEUED, seen: int | None = None) -> None:
        """Releases a run; writes ``RunReleased``. With a waiting status, the run is queued instead if others wrote
        events after ``seen``, the last event that its worker has read. Raises LeaseLost."""
        ...

    async def cancel_remaining_children(self) -> None:
        """Cancels sub-runs of ended or cancelled runs that remained because the cancelling process died."""
        ...

    async def drop_copies(self) -> None:
        """Removes copied steps of forks that were never created because their process died."""
        ...

    async def cancelled(self, worker: str) -> frozenset[str]:
        """Ids of the worker's runs whose cancellation was requested."""
        ...

    async def wait_for_work(self, timeout_s: float, besides: Collection[str] = (), held: Collection[str] = ()) -> None:
        """Returns when a run may have become claimable (see ``claim``), at the latest after ``timeout_s``."""
        ...

    # -- interrupts -------------------------------------------------------------------------------

    async def raise_interrupt(
        self,
        tenant_id: str,
        scope: Literal["all", "tenant", "agent", "session", "subject", "run"],
        target: str | None = None,
        reason: str = "",
        by: str = "",
        *,
        interrupt_id: str | None = None,
        idempotency: Idempotency | None = None,
        actor: Actor | None = None,
    ) -> Interrupt:
        """Raises an interrupt, latched until cleared. Tenant ``*`` matches every tenant.

        An ``interrupt_id`` is generated if none is given. A repeated idempotency key returns the first interrupt.
        Raises IdempotencyMismatch.
        """
        ...

    async def clear_interrupt(
        self, tenant_id: str, interrupt_id: str, actor: Actor | None = None, reason: str = ""
    ) -> Interrupt:
        """Clears an interrupt; clearing it twice is harmless and keeps the first actor and reason. Raises NotFound."""
        ...

    async def interrupts(self, tenant_id: str, *, active: bool = True) -> list[Interrupt]:
        """Interrupts that can stop the tenant, newest first; with ``active=False`` cleared ones too."""
        ...

    async def stops(self, run: Run) -> InterruptSnapshot:
        """Interrupts of the run's tenant that are active or were raised since it was created or last resumed."""
        ...

    async def interrupt_snapshot(self) -> InterruptSnapshot:
        """Active interrupts of all tenants, and those cleared within the last hour."""
        ...

    # -- counts -----------------------------------------------------------------------------------

    async def open_runs(self, tenant_id: str) -> dict[RunStatus, int]:
        """Number of open runs by status; statuses without runs are left out."""
        ...

    async def pending_approvals(self, tenant_id: str) -> int: ...

    # -- audit ------------------------------------------------------------------------------------

    async def record(self, tenant_id: str, verdicts: Sequence[Verdict]) -> None:
        """Records verdicts given together outside a run (``/v1/chat/completions``).

        They become an audit record, and events for the projections under a ``run_id`` that no run has.
        """
        ...

    async def audit(
        self,
        tenant_id: str,
        *,
        run_id: str | None = None,
        act: Act | None = None,
        actor: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[AuditRecord]:
        """Audit records of a tenant with ``seq > after``, oldest first, bounded by ``limit`` and the page size.

        Args:
            actor: id or name.
        """
        ...

    # -- projections ------------------------------------------------------------------------------

    async def projection(self, name: str) -> Projection | None: ...

    async def save_projection(self, name: str, projection: Projection, expected_cursor: int) -> None:
        """Stores a projection if the stored cursor is ``expected_cursor`` (0: nothing is stored yet).

        Raises:
            Conflict: another process has moved the cursor.
        """
        ...

    async def close(self) -> None: ...


async def all_events(journal: Journal, tenant_id: str, run_id: str) -> list[RunEvent]:
    """All events of a run so far. Raises NotFound."""
    events: list[RunEvent] = []
    while page := await journal.events(tenant_id, run_id, len(events), PAGE):
        events += page
    return events


def new_id(kind: str) -> str:
    """A new id such as ``run_…``, ``apr_…`` or ``int_…``, with 128 random bits."""
    return f"{kind}_{uuid.uuid4().hex}"
