"""Forks: runs that begin with the first steps of another run.

Steps are copied in portions, each in its own transaction. The run itself is written with the last portion; until then
it can't be seen or claimed. If the process dies before that, the orphaned copies are removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.run.state import apply, check_fork
from agent.store.backend import Fork, Transaction
from agent.store.rules import appending, runs
from agent.store.rules.row import Row, advance
from flightloop.chat import Usage
from flightloop.errors import Conflict, InvalidRequest, StoreUnavailable
from flightloop.events import (
    CallsDecided,
    ContextCompacted,
    Planned,
    Replied,
    RunCreated,
    RunEvent,
    ToolIntent,
    ToolResult,
)
from flightloop.runs import Origin

MOST = 256
"""Maximum number of events per portion; fewer if they are long, as in a page (``agent.store.rules.page``)."""
FIRST = 64
DROPPED = 32
"""Copies removed per transaction."""
KEPT = (Planned, CallsDecided, ToolIntent, ToolResult, ContextCompacted)
"""Events that the next decision depends on. Verdicts and approvals belong to the run in which they were given."""
_REMOVED = 0.0


@dataclass(frozen=True)
class Copies:
    """Progress of a copy. ``events`` have been read but not written yet."""

    first: RunCreated
    fork: Fork
    row: Row
    """The run with all copied events."""
    last_seq: int
    """Sequence number of the origin's last event when the copy began."""
    limit: int
    """Number of events to read next."""
    origin_seq: int = 0
    """Sequence number of the origin's last event that was read."""
    calls: frozenset[str] = frozenset()
    """Calls without a result so far."""
    events: Sequence[RunEvent] = ()
    documents: Sequence[str] = ()
    """``events`` as JSON."""
    whole: bool = False
    """Whether nothing is left to read."""

    @property
    def beginning(self) -> runs.Beginning:
        return runs.Beginning(self.first, self.row, self.events, self.documents)


def begin(tx: Transaction, created: RunCreated, origin: Origin, now: datetime) -> Copies:
    """Reads the first portion.

    Raises:
        NotFound: the tenant has no such run.
        Conflict: a call of the step has no result yet, the step is the final answer, or the run was erased.
        InvalidRequest: the run has no such step.
    """
    run = appending.find(tx, origin.run_id, created.tenant_id).state.run
    check_fork(run)
    if origin.step > run.usage.steps:
        raise InvalidRequest(f"step: run {run.id} has {run.usage.steps} steps; choose a smaller step", param="step")
    first = runs.stamped(created, now)
    row = Row(apply(None, first), queued_at=now)
    if tx.fork(row.id) is not None:
        raise Conflict(f"run {row.id} already exists")
    session = tx.root_session(run.tenant_id, run.session_id)
    fork = Fork(row.id, run.tenant_id, created.session_id, tx.root(run.id), session)
    return go_on(tx, Copies(first, fork, row, run.last_seq, FIRST), origin, now)


def go_on(tx: Transaction, copies: Copies, origin: Origin, now: datetime) -> Copies:
    """Reads the next portion; events are immutable, so any transaction may do so. Raises Conflict."""
    page = tx.events(origin.run_id, copies.origin_seq, copies.limit)
    calls = set(copies.calls)
    change = advance(copies.row, list(_kept(page, origin, calls)), now)
    whole = page[-1].seq >= copies.last_seq or page[-1].step > origin.step
    if whole and calls:
        raise Conflict(f"step {origin.step} of run {origin.run_id} has calls without a result: fork at an earlier step")
    return replace(
        copies,
        row=change.row,
        origin_seq=page[-1].seq,
        limit=min(MOST, 4 * len(page)),  # a database may read all rows it is asked for, even if a page holds fewer
        calls=frozenset(calls),
        events=change.events,
        documents=[event.model_dump_json() for event in change.events],
        whole=whole,
    )


def keep(tx: Transaction, copies: Copies, now: datetime) -> Copies:
    """Writes a portion that is not the last. Raises StoreUnavailable if earlier portions were removed."""
    check(tx, copies)
    fork = replace(copies.fork, copied_at=now.timestamp())
    tx.save_fork(fork)
    tx.add_events(fork.tenant_id, copies.events, copies.documents)
    return replace(copies, fork=fork)


def check(tx: Transaction, copies: Copies) -> None:
    """Raises StoreUnavailable if earlier portions were removed: the copy took so long that it looked abandoned.

    Raises Conflict if the origin was erased meanwhile.
    """
    assert copies.first.origin is not None
    check_fork(appending.find(tx, copies.first.origin.run_id).state.run)
    stored = tx.fork(copies.fork.run_id)
    if (stored and stored.copied_at) != copies.fork.copied_at:
        raise StoreUnavailable("copying the run's steps took too long and was abandoned: try again")


def drop(tx: Transaction, run_id: str, before: datetime | None = None) -> bool:
    """Removes a portion of the events that were copied for a fork that was never created.

    With ``before``, does so only if the latest copy was made before that time. Returns whether events are left.

    A process that is still copying notices the removal before its next write.
    """
    fork = tx.fork(run_id)
    if fork is None or fork.copied_at is None or (before is not None and fork.copied_at >= before.timestamp()):
        return False
    if tx.drop_events(run_id, DROPPED) == DROPPED:
        tx.save_fork(replace(fork, copied_at=_REMOVED))
        return True
    tx.drop_fork(run_id)
    return False


def _kept(page: Sequence[RunEvent], origin: Origin, calls: set[str]) -> Iterator[RunEvent]:
    """Copies of the events to keep; updates ``calls`` to those without a result. Raises Conflict at a final answer."""
    for event in page:
        if not 0 < event.step <= origin.step:
            continue
        if isinstance(event, Replied):
            raise Conflict(f"step {event.step} of run {origin.run_id} is its final answer: fork at an earlier step")
        if isinstance(event, CallsDecided):
            calls |= {call.id for call in event.calls}
        if isinstance(event, ToolResult):
            calls.discard(event.call_id)
        if isinstance(event, KEPT):
            yield _copied(event)


def _copied(event: RunEvent) -> RunEvent:
    """Copies an event without usage and cost, which the original run has paid."""
    changes: dict[str, object] = {"copied": True}
    if isinstance(event, Planned | CallsDecided):
        changes["model"] = event.model.model_copy(update={"usage": Usage(), "cost": 0.0, "seconds": 0.0})
    return event.model_copy(update=changes)
