"""The journal: the only mutable state of the agent, as a Protocol.

Every write is one transaction that checks the run's transitions and, for work, the lease's fence.
A ``Judged`` event also writes an audit record, an ``ApprovalRequested`` an approval: whoever appends
cannot forget them. Implementations: ``agent.store`` (SQL, in-memory).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from agent.run.lease import Lease
from agent.run.ledger import Ledger
from flightloop.events import (
    CancelRequested,
    FeedbackGiven,
    OutcomeVerified,
    RunCreated,
    RunEnded,
    RunEvent,
    RunResumed,
)
from flightloop.runs import Approval, Interrupt, Page, Run, RunStatus
from flightloop.verdicts import AuditRecord, Verdict

if TYPE_CHECKING:
    from agent.run.state import RunState
    from guardrails.interrupt import InterruptSnapshot

PAGE = 1000
Released = Literal[RunStatus.QUEUED, RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT]
"""What a run may be when its worker gives it back."""
WITHOUT_LEASE = (CancelRequested, RunResumed, FeedbackGiven, OutcomeVerified, RunEnded)
"""Events that may be appended from outside; RunEnded only while no worker holds the run."""


@dataclass(frozen=True)
class Claim:
    run: Run
    lease: Lease


@dataclass(frozen=True)
class Idempotency:
    """``key`` is the client's ``Idempotency-Key``; ``digest`` identifies the payload."""

    key: str
    digest: str


@dataclass(frozen=True)
class Created:
    run: Run
    """As it was answered the first time, if ``replayed``."""
    replayed: bool = False


@dataclass(frozen=True)
class Appended:
    """``state``: the run's after ``events``, which have their ``seq``, ``run_id``, ``step`` and ``at``."""

    state: RunState
    events: tuple[RunEvent, ...]


@dataclass(frozen=True)
class Recorded:
    """An event at its global position, which grows over all runs and tenants."""

    position: int
    tenant_id: str
    event: RunEvent


@dataclass(frozen=True)
class Projection:
    """A fold over all events: what it has made of everything up to ``cursor``, a position."""

    cursor: int
    state: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A call that changes something, from its intent on, or one that a person has denied.

    Attributes:
        callers: runs that the call's run works for.
        ok: it succeeded; None: it has no result yet.
        uncertain: it may have had its effect although it is not ``ok``.
        told: the beginning of the result or the error, as the model reads it.
        unsure: other spellings of it may have other hashes.
        denied: a person said no to it: it was not made.
        kin: its run and the one that asks were forked from the same one, at whatever remove, or work for such runs.
    """

    run_id: str
    callers: tuple[str, ...]
    call_id: str
    tool: str
    arguments: dict[str, Any]
    args_sha256: str
    ok: bool | None = None
    uncertain: bool = False
    told: str = ""
    kin: bool = False
    unsure: bool = False
    denied: bool = False


class Journal(Protocol):
    @property
    def ledger(self) -> Ledger:
        """What runs share the bounds of: kept with the events, in the same transactions."""
        ...

    # -- runs -------------------------------------------------------------------------------------

    async def create(
        self, created: RunCreated, idempotency: Idempotency | None = None, record: Sequence[Verdict] = ()
    ) -> Created:
        """Writes a run and its first event; ``run_id`` and ``at`` are filled in where missing.

        A run with an origin begins with copies of its first steps: the decisions, and the calls with their results.
        Many are copied in several transactions; the run is there with the last one.
        What is to be on ``record`` goes into the audit in the same transaction, unless the run was made before.

        Raises:
            IdempotencyMismatch: the tenant used the key for another payload.
            NotFound: the tenant has no run like the origin's.
            Conflict: a call of the origin's step has no result yet, or the step is the answer.
            InvalidRequest: the origin has no such step.
        """
        ...

    async def get(self, tenant_id: str, run_id: str) -> Run:
        """Raises NotFound."""
        ...

    async def runs(
        self,
        tenant_id: str,
        *,
        agent: str | None = None,
        status: RunStatus | None = None,
        session_id: str | None = None,
        parent: str | None = None,
        roots: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Run]:
        """Newest first, at most ``limit`` and what fits into a page.

        ``after`` is a page's ``next_after`` (a run id); an unknown one: NotFound.

        Args:
            parent: the run that they work for.
            roots: those that work for none.
        """
        ...

    async def writes(self, run: Run, args_sha256: str | None = None, limit: int = 500) -> list[Written]:
        """Calls that have begun to change something, newest first; with a hash those of that call.

        Those of the run's session, and of all sessions that forks have in common with it.
        """
        ...

    async def append(
        self,
        run_id: str,
        events: Sequence[RunEvent],
        lease: Lease | None = None,
        children: Sequence[RunCreated] = (),
    ) -> Appended:
        """Writes events in one transaction.

        Without a lease only the events of ``WITHOUT_LEASE`` may be written. ``children``: runs that begin with them,
        each with an id and a parent. When such a run ends its parent is told by an ``AgentReturned`` in the same
        transaction. When a run ends or is cancelled those that work for it are cancelled: some dozens in the same
        transaction, more in further ones. From the first one on none of them is claimed, and who writes one sees that
        it is cancelled.

        Raises:
            NotFound: no such run.
            LeaseLost: the lease is no longer the run's.
            Conflict: an event does not fit the run's state.
        """
        ...

    async def events(self, tenant_id: str, run_id: str, after: int = 0, limit: int = 1000) -> list[RunEvent]:
        """A run's events with ``seq > after``, in order: at most ``limit``, and what fits into a page.

        Raises:
            NotFound: no such run.
        """
        ...

    async def wait(self, run_id: str, after: int, timeout_s: float) -> bool:
        """Whether the run has events with ``seq > after``, waiting for them as long as allowed."""
        ...

    async def read_all(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Events of all runs with ``position > after``, in order: at most ``limit``, and what fits into a page."""
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
        """Takes the oldest run that is queued, or whose lease expired; writes ``RunStarted``.

        ``besides``: tenants whose runs are left to others; if there are no other runs, the next group of tenants, and
        so on. ``unless``: takes none if it says so in the moment of the claim. ``held``: runs that the worker is at,
        whose leases it renews even if they have expired.

        A worker that ends, however it ends, loses its leases at once. Its name has to be one that no worker had before.
        """
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Raises LeaseLost."""
        ...

    async def release(self, lease: Lease, status: Released = RunStatus.QUEUED, seen: int | None = None) -> None:
        """Gives a run back; writes ``RunReleased``. One that is to wait goes back to the queue if others wrote events
        behind ``seen``, the last one that its worker knows. Raises LeaseLost."""
        ...

    async def end_families(self) -> None:
        """Cancels runs that work for one that has ended or is to, where whoever began with it has come to no end."""
        ...

    async def drop_copies(self) -> None:
        """Removes steps that were copied for a fork that has not come to be, its process having died before."""
        ...

    async def cancelled(self, worker: str) -> frozenset[str]:
        """Ids of the runs that a worker holds and that somebody has asked to cancel."""
        ...

    async def wait_for_work(self, timeout_s: float, besides: Collection[str] = (), held: Collection[str] = ()) -> None:
        """Returns when a run may have become claimable, as in ``claim``, at the latest after ``timeout_s``."""
        ...

    # -- approvals --------------------------------------------------------------------------------

    async def approvals(
        self,
        tenant_id: str,
        *,
        status: str | None = None,
        run_id: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Approval]:
        """Newest first, at most ``limit`` and what fits into a page."""
        ...

    async def run_approvals(self, run_id: str) -> list[Approval]:
        """All approvals of a run, oldest first."""
        ...

    async def decide(
        self, tenant_id: str, approval_id: str, decision: Literal["approve", "deny"], by: str, reason: str | None = None
    ) -> Approval:
        """Decides a pending approval; the run is queued again once none is pending.

        Raises:
            NotFound: no such approval.
            Conflict: it was decided before, or has expired.
        """
        ...

    async def expire_approvals(self) -> list[Approval]:
        """Expires what nobody decided in time (for the model that is a denial)."""
        ...

    # -- interrupts -------------------------------------------------------------------------------

    async def raise_interrupt(
        self,
        tenant_id: str,
        scope: Literal["all", "agent", "session", "run"],
        target: str | None = None,
        reason: str = "",
        by: str = "",
        *,
        interrupt_id: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Interrupt:
        """Latched until cleared. Tenant ``*`` matches every tenant. ``interrupt_id`` is made where missing.

        With the idempotency key of an earlier request it is that one's interrupt. Raises IdempotencyMismatch.
        """
        ...

    async def clear_interrupt(self, tenant_id: str, interrupt_id: str) -> Interrupt:
        """Raises NotFound; clearing twice is harmless."""
        ...

    async def interrupts(self, tenant_id: str, *, active: bool = True) -> list[Interrupt]:
        """Newest first; with ``active=False`` the cleared ones too."""
        ...

    async def stops(self, run: Run) -> InterruptSnapshot:
        """The interrupts of a run's tenant that are active, or were raised since it was created or last resumed."""
        ...

    async def interrupt_snapshot(self) -> InterruptSnapshot:
        """Active interrupts of all tenants and those cleared within the last hour."""
        ...

    # -- counts -----------------------------------------------------------------------------------

    async def open_runs(self, tenant_id: str) -> dict[RunStatus, int]:
        """Runs that have not ended, by status; statuses without any are left out."""
        ...

    async def pending_approvals(self, tenant_id: str) -> int: ...

    # -- audit ------------------------------------------------------------------------------------

    async def record(self, tenant_id: str, verdicts: Sequence[Verdict]) -> None:
        """Verdicts that belong to no run (``/v1/chat/completions``) and were given together.

        They become one audit record, and events for the projections under a ``run_id`` that no run has.
        """
        ...

    async def audit(
        self, tenant_id: str, *, run_id: str | None = None, after: int = 0, limit: int = 100
    ) -> list[AuditRecord]:
        """Records of one tenant with ``seq > after``, oldest first: at most ``limit``, and what fits into a page."""
        ...

    # -- projections ------------------------------------------------------------------------------

    async def projection(self, name: str) -> Projection | None: ...

    async def save_projection(self, name: str, projection: Projection, expected_cursor: int) -> None:
        """Stores a projection; ``expected_cursor`` is that of the one it was made from (0: none).

        Raises:
            Conflict: somebody else moved it.
        """
        ...

    async def close(self) -> None: ...


async def all_events(journal: Journal, tenant_id: str, run_id: str) -> list[RunEvent]:
    """A run's events up to now, from the first one on. Raises NotFound."""
    events: list[RunEvent] = []
    while page := await journal.events(tenant_id, run_id, len(events), PAGE):
        events += page
    return events


def new_id(kind: str) -> str:
    """``run_…``, ``apr_…``, ``int_…``: 128 random bits."""
    return f"{kind}_{uuid.uuid4().hex}"
