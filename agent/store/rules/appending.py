"""Appends events to a run and writes everything that follows from them, also for its parent and its sub-runs.

A sub-run is created with a call of its parent, reports its end to the parent, and is cancelled when the parent ends.

A family of runs may be too large for one transaction. So the sub-runs of an ended run are cancelled in portions,
deepest first, so that each report to a parent is complete. Until a sub-run is cancelled, claims and writes check
whether one of its callers is over. So it does not matter when or by which process later portions are cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent.run.erased import erased_event
from agent.run.state import UNHELD, added
from agent.store.backend import RunFilter, Transaction
from agent.store.rules import limits, records, spending, writes
from agent.store.rules.row import Change, Row, advance
from flightloop.errors import Conflict, NotFound
from flightloop.events import AgentReturned, CancelRequested, RunCreated, RunEnded, RunEvent, RunResumed
from flightloop.runs import Run, RunStatus, StopReason

APART = timedelta(microseconds=1)
NEWEST = 20
"""Runs of a session whose times count: more than what is said on both sides of a question."""
MOST = 32
"""Runs, and approvals that end with them, per portion. A run with more approvals is a portion by itself."""


def find(tx: Transaction, run_id: str, tenant_id: str | None = None) -> Row:
    """The row of a run. Raises NotFound if it does not exist or belongs to another tenant."""
    row = tx.run(run_id)
    if row is None or (tenant_id is not None and row.tenant_id != tenant_id):
        raise NotFound(f"no run {run_id}")
    return row


def end_of(tx: Transaction, run: Run, now: datetime) -> datetime:
    """The time at which a run ends: ``now``, or later than the beginnings and ends of the session's runs that are
    written already, if the clock of a process that wrote them is ahead. It tells what was said before what: a yes that
    was there before its question is none."""
    newest, _ = tx.page_runs(run.tenant_id, RunFilter(session_id=run.session_id, roots=True), None, NEWEST)
    latest = max(time for one in newest for time in (one.created_at, one.ended_at) if time is not None)
    return now if latest <= now else latest + APART


def write(tx: Transaction, row: Row, events: Sequence[RunEvent], now: datetime) -> Change:
    """Appends events without checking a lease, and writes everything that follows from them."""
    if row.state.run.parent is None and any(isinstance(event, RunEnded) for event in events):
        now = end_of(tx, row.state.run, now)
    change = advance(row, events, now)
    if change.row.state.cancel_requested and change.row.status in UNHELD:  # no worker would end it
        cancelled = RunEnded(status=RunStatus.CANCELLED, stop_reason=StopReason.CANCEL)
        change = advance(row, [*events, cancelled], now)
    tx.add_events(row.tenant_id, change.events)
    records.follow(tx, change, now, row.holder)
    writes.follow(tx, row.state.run, change.events)
    limits.follow(tx, row.state.run, change.events)
    change = spending.settled(tx, row, change, now)
    tx.save_run(change.row, row)
    more = False
    if change.row.status.terminal and not row.status.terminal:
        more = ended(tx, change.row.state.run, now)
    elif change.row.state.cancel_requested and not row.state.cancel_requested:
        more = go_on(tx, row.id, now)
    return replace(change, unfinished=more)


def check_new(tx: Transaction, children: Sequence[RunCreated]) -> None:
    """Raises Conflict if one of the runs already exists. Writes nothing."""
    for child in children:
        if tx.run(child.run_id) is not None:
            raise Conflict(f"run {child.run_id} already exists")


def check_resume(tx: Transaction, row: Row) -> None:
    """Raises Conflict while sub-runs of an ended run are not cancelled yet: resuming it would resume them too."""
    if row.status.terminal and tx.uncancelled_children(row.id, 1):
        raise Conflict(f"sub-runs of run {row.id} are still being cancelled: try again")


def above(tx: Transaction, row: Row) -> str | None:
    """Id of the nearest calling run that is ``over``. None if there is none, or if the run's own cancellation was
    already requested."""
    parent = None if row.state.cancel_requested else row.state.run.parent
    return next((one.run_id for one in reversed(parent.callers) if tx.over(one.run_id)), None) if parent else None


def told(tx: Transaction, run_id: str) -> CancelRequested:
    """The event that cancels sub-runs of a run that has ended or is cancelled."""
    row = tx.run(run_id)
    why = "has ended" if row is not None and row.status.terminal else "is cancelled"
    return CancelRequested(by=f"run {run_id}, which {why}")


def go_on(tx: Transaction, run_id: str, now: datetime) -> bool:
    """Cancels one portion of the open sub-runs of a run that is over; returns whether there are more."""
    if not tx.uncancelled_children(run_id, 1) or not tx.over(run_id):  # it may have been resumed
        return False
    _cancel_below(tx, run_id, told(tx, run_id), now, MOST)
    return bool(tx.uncancelled_children(run_id, 1))


def _cancel_below(tx: Transaction, run_id: str, event: CancelRequested, now: datetime, room: int) -> int:
    """Cancels sub-runs, deepest first; workers end the leased ones. Returns the room left, 0 if not all of them fit."""
    for child in tx.uncancelled_children(run_id, room):
        size = _size(tx, child, room)
        if size > room and (_cancel_below(tx, child, event, now, room) < room or room < MOST):
            return 0  # the child itself follows once all runs below it are cancelled
        write(tx, find(tx, child), [event], now)  # also cancels the runs below it
        room -= min(size, room)
        if not room:
            break
    return room


def _size(tx: Transaction, run_id: str, most: int) -> int:
    """Number of runs and approvals that end with a run; counting stops soon after ``most``."""
    size = 1 + tx.count_pending(run_id)
    for child in tx.uncancelled_children(run_id, most):
        if size > most:
            break
        size += _size(tx, child, most - size)
    return size


def ended(tx: Transaction, run: Run, now: datetime) -> bool:
    """Writes what follows from a run's end: cancels its sub-runs and reports to its parent.

    The run itself is already written. Returns whether more sub-runs remain to be cancelled.
    """
    more = go_on(tx, run.id, now)
    if run.parent is not None:
        row = tx.run(run.id)  # now with the usage of the sub-runs that were just cancelled
        assert row is not None
        _report(tx, row.state.run, now)
    return more


def _report(tx: Transaction, run: Run, now: datetime) -> None:
    assert run.parent is not None
    row = tx.run(run.parent.run_id)
    if row is None:
        return
    returned: RunEvent = AgentReturned(
        call_id=run.parent.call_id,
        performed_by=run.id,
        status=run.status,
        output=run.output,
        error=run.error,
        usage=added(run.usage, run.delegated),
    )
    if row.state.run.erased_at is not None:
        returned = erased_event(returned)
    events: list[RunEvent] = [returned]
    if row.status is RunStatus.WAITING_AGENT:
        events.append(RunResumed(by="agent"))
    write(tx, row, events, now)
