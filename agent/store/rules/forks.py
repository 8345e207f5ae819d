"""A run that begins with the first steps of another one.

However long these are, they are copied in portions, each with a transaction of its own. Until the last one, with which
the run itself is written, nobody sees or claims it: a process that dies before leaves copies of no run, which are
removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.run.state import apply
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
"""Events that a portion is made from; fewer where they are long, as a page of them is (``agent.store.rules.page``)."""
FIRST = 64
DROPPED = 32
"""Copies that are removed in one transaction."""
KEPT = (Planned, CallsDecided, ToolIntent, ToolResult, ContextCompacted)
"""What the next decision follows from. Verdicts and approvals belong to the run where they were given."""
_REMOVED = 0.0


@dataclass(frozen=True)
class Copies:
    """Where the copying stands: ``events`` are read, and still to be written.

    Attributes:
        row: the run as it is with them.
        last_seq: of the origin, when the copying began.
        origin_seq, limit: behind what the next ones are read, and how many.
        calls: that have no result yet.
        whole: there are no more.
    """

    first: RunCreated
    fork: Fork
    row: Row
    last_seq: int
    limit: int
    origin_seq: int = 0
    calls: frozenset[str] = frozenset()
    events: Sequence[RunEvent] = ()
    documents: Sequence[str] = ()
    whole: bool = False

    @property
    def beginning(self) -> runs.Beginning:
        return runs.Beginning(self.first, self.row, self.events, self.documents)


def begin(tx: Transaction, created: RunCreated, origin: Origin, now: datetime) -> Copies:
    """The first portion.

    Raises:
        NotFound: the tenant has no such run.
        Conflict: a call of the step has no result yet, or the step is the answer.
        InvalidRequest: the run has no such step.
    """
    run = appending.find(tx, origin.run_id, created.tenant_id).state.run
    if origin.step > run.usage.steps:
        raise InvalidRequest(f"step: run {run.id} has {run.usage.steps} of them", param="step")
    first = runs.stamped(created, now)
    row = Row(apply(None, first), queued_at=now)
    if tx.fork(row.id) is not None:
        raise Conflict(f"run {row.id} exists already")
    session = tx.root_session(run.tenant_id, run.session_id)
    fork = Fork(row.id, run.tenant_id, created.session_id, tx.root(run.id), session)
    return go_on(tx, Copies(first, fork, row, run.last_seq, FIRST), origin, now)


def go_on(tx: Transaction, copies: Copies, origin: Origin, now: datetime) -> Copies:
    """The next portion. Nobody changes events, so any transaction may read them. Raises Conflict."""
    page = tx.events(origin.run_id, copies.origin_seq, copies.limit)
    calls = set(copies.calls)
    change = advance(copies.row, list(_kept(page, origin, calls)), now)
    whole = page[-1].seq >= copies.last_seq or page[-1].step > origin.step
    if whole and calls:
        raise Conflict(f"step {origin.step} of run {origin.run_id} has calls without a result yet")
    return replace(
        copies,
        row=change.row,
        origin_seq=page[-1].seq,
        limit=min(MOST, 4 * len(page)),  # a database may give all that it is asked for, whatever a page takes of it
        calls=frozenset(calls),
        events=change.events,
        documents=[event.model_dump_json() for event in change.events],
        whole=whole,
    )


def keep(tx: Transaction, copies: Copies, now: datetime) -> Copies:
    """Writes a portion that is not the last one. Raises StoreUnavailable: those before it are gone."""
    check(tx, copies)
    fork = replace(copies.fork, copied_at=now.timestamp())
    tx.save_fork(fork)
    tx.add_events(fork.tenant_id, copies.events, copies.documents)
    return replace(copies, fork=fork)


def check(tx: Transaction, copies: Copies) -> None:
    """Raises StoreUnavailable if earlier portions are gone: it took so long that somebody took it for given up."""
    stored = tx.fork(copies.fork.run_id)
    if (stored and stored.copied_at) != copies.fork.copied_at:
        raise StoreUnavailable("copying the run's steps was broken off: try again")


def drop(tx: Transaction, run_id: str, before: datetime | None = None) -> bool:
    """Removes some copies of a run that is not there, made before a time; whether there are more.

    Whoever may still be copying finds that out before it writes the next ones.
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
    """Copies of the steps' events. ``calls`` becomes those without a result. Raises Conflict at an answer."""
    for event in page:
        if not 0 < event.step <= origin.step:
            continue
        if isinstance(event, Replied):
            raise Conflict(f"step {event.step} of run {origin.run_id} is its answer: fork before it")
        if isinstance(event, CallsDecided):
            calls |= {call.id for call in event.calls}
        if isinstance(event, ToolResult):
            calls.discard(event.call_id)
        if isinstance(event, KEPT):
            yield _copied(event)


def _copied(event: RunEvent) -> RunEvent:
    """What it cost was paid by the run where it happened."""
    changes: dict[str, object] = {"copied": True}
    if isinstance(event, Planned | CallsDecided):
        changes["model"] = event.model.model_copy(update={"usage": Usage(), "cost": 0.0, "seconds": 0.0})
    return event.model_copy(update=changes)
