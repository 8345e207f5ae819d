"""Appends events to a run, with all that follows from them, also for runs that work for it or that it works for.

Runs that work for other runs are begun with a call, told of at their end, and ended with the run they work for.

A family may be larger than one transaction should be: those below a run that ends are told in portions, from below, so
that each run's report to the one above is complete. Until a run is told, it is neither claimed nor written any more
without noticing that one above it is over. So it makes no difference when the rest of them follow, nor who sees to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent.run.state import UNHELD, added
from agent.store.backend import Transaction
from agent.store.rules import records, spending, writes
from agent.store.rules.row import Change, Row, advance
from flightloop.errors import Conflict, NotFound
from flightloop.events import AgentReturned, CancelRequested, RunCreated, RunEnded, RunEvent, RunResumed
from flightloop.runs import Run, RunStatus, StopReason

MOST = 32
"""Runs, and approvals that end with them, of one portion. A run with more approvals is a portion by itself."""


def find(tx: Transaction, run_id: str, tenant_id: str | None = None) -> Row:
    """Raises NotFound; another tenant's run counts as none."""
    row = tx.run(run_id)
    if row is None or (tenant_id is not None and row.tenant_id != tenant_id):
        raise NotFound(f"no run {run_id}")
    return row


def write(tx: Transaction, row: Row, events: Sequence[RunEvent], now: datetime) -> Change:
    """Appends without asking for a lease, with everything that follows from the events."""
    change = advance(row, events, now)
    if change.row.state.cancel_requested and change.row.status in UNHELD:  # no worker would see to it
        cancelled = RunEnded(status=RunStatus.CANCELLED, stop_reason=StopReason.CANCEL)
        change = advance(row, [*events, cancelled], now)
    tx.add_events(row.tenant_id, change.events)
    records.follow(tx, change, now)
    writes.follow(tx, row.state.run, change.events)
    change = spending.settled(tx, row, change, now)
    tx.save_run(change.row, row)
    more = False
    if change.row.status.terminal and not row.status.terminal:
        more = ended(tx, change.row.state.run, now)
    elif change.row.state.cancel_requested and not row.state.cancel_requested:
        more = go_on(tx, row.id, now)
    return replace(change, unfinished=more)


def check_new(tx: Transaction, children: Sequence[RunCreated]) -> None:
    """Raises Conflict if one is there already; nothing is written."""
    for child in children:
        if tx.run(child.run_id) is not None:
            raise Conflict(f"run {child.run_id} exists already")


def check_resume(tx: Transaction, row: Row) -> None:
    """Raises Conflict if some below a run that has ended are still to be told: they would go on with it."""
    if row.status.terminal and tx.untold(row.id, 1):
        raise Conflict(f"runs that work for run {row.id} are still being ended: try again")


def above(tx: Transaction, row: Row) -> str | None:
    """Of those that a run works for the nearest one that has ended or is to, if the run is still to be told."""
    parent = None if row.state.cancel_requested else row.state.run.parent
    return next((one.run_id for one in reversed(parent.callers) if tx.over(one.run_id)), None) if parent else None


def told(tx: Transaction, run_id: str) -> CancelRequested:
    """What those below a run are told, which has ended or is to."""
    row = tx.run(run_id)
    why = "has ended" if row is not None and row.status.terminal else "is cancelled"
    return CancelRequested(by=f"run {run_id}, which {why}")


def go_on(tx: Transaction, run_id: str, now: datetime) -> bool:
    """Cancels open runs below a run that is over, as many as one transaction should; whether there are more."""
    if not tx.untold(run_id, 1) or not tx.over(run_id):  # it may have been resumed
        return False
    _tell_below(tx, run_id, told(tx, run_id), now, MOST)
    return bool(tx.untold(run_id, 1))


def _tell_below(tx: Transaction, run_id: str, event: CancelRequested, now: datetime, room: int) -> int:
    """The room that is left; none if not all of them had room. A worker that holds one of them ends it."""
    for child in tx.untold(run_id, room):
        size = _size(tx, child, room)
        if size > room and (_tell_below(tx, child, event, now, room) < room or room < MOST):
            return 0  # the child itself comes once all below are told
        write(tx, find(tx, child), [event], now)  # and with it those below
        room -= min(size, room)
        if not room:
            break
    return room


def _size(tx: Transaction, run_id: str, most: int) -> int:
    """What ends with a run; counted up to a little more than ``most``."""
    size = 1 + tx.count_pending(run_id)
    for child in tx.untold(run_id, most):
        if size > most:
            break
        size += _size(tx, child, most - size)
    return size


def ended(tx: Transaction, run: Run, now: datetime) -> bool:
    """What follows from a run's end for those below it and the one above; the run itself is written already.

    Whether there are more below it.
    """
    more = go_on(tx, run.id, now)
    if run.parent is not None:
        row = tx.run(run.id)  # with what those have used that have just been stopped
        assert row is not None
        _report(tx, row.state.run, now)
    return more


def _report(tx: Transaction, run: Run, now: datetime) -> None:
    assert run.parent is not None
    row = tx.run(run.parent.run_id)
    if row is None:
        return
    returned = AgentReturned(
        call_id=run.parent.call_id,
        performed_by=run.id,
        status=run.status,
        output=run.output,
        error=run.error,
        usage=added(run.usage, run.delegated),
    )
    events: list[RunEvent] = [returned]
    if row.status is RunStatus.WAITING_AGENT:
        events.append(RunResumed(by="agent"))
    write(tx, row, events, now)
