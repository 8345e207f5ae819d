"""Runs that work for other runs: begun with a call, told of at their end, and ended with the run they work for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent.run import added
from agent.store import runs
from agent.store.backend import Transaction
from flightloop.errors import Conflict
from flightloop.events import AgentReturned, CancelRequested, RunCreated, RunEvent, RunResumed
from flightloop.runs import Run, RunStatus


def check_new(tx: Transaction, children: Sequence[RunCreated]) -> None:
    """Raises Conflict if one is there already; nothing is written."""
    for child in children:
        if tx.run(child.run_id) is not None:
            raise Conflict(f"run {child.run_id} exists already")


def cancelled(tx: Transaction, run: Run, why: str, now: datetime) -> None:
    """Cancels the open runs below a run, which is written already. A worker that holds one of them ends it."""
    for child in tx.open_children(run.id):
        if not child.state.cancel_requested:
            runs.write(tx, child, [CancelRequested(by=f"run {run.id}, which {why}")], now)


def ended(tx: Transaction, run: Run, now: datetime) -> None:
    """What follows from a run's end for those below it and the one above; the run itself is written already."""
    cancelled(tx, run, "has ended", now)
    if run.parent is not None:
        row = tx.run(run.id)  # with what those have used that have just been stopped
        assert row is not None
        _report(tx, row.state.run, now)


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
    runs.write(tx, row, events, now)
