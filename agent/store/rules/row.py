"""A run as the store keeps it, and what appending events makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.run.journal import WITHOUT_LEASE
from agent.run.lease import Lease, LeaseLost
from agent.run.state import DECISIONS, RunState, apply
from flightloop.errors import Conflict
from flightloop.events import RunEnded, RunEvent
from flightloop.runs import RunStatus


@dataclass(frozen=True)
class Row:
    """``holder`` is the worker with the lease, if one has it; ``fence`` counts the claims so far.

    ``reserved``: the ledger holds something for it. ``settled_s``: seconds of its usage that the ledger has counted.
    """

    state: RunState
    queued_at: datetime
    holder: str | None = None
    fence: int = 0
    lease_until: datetime | None = None
    reserved: bool = False
    settled_s: float = 0.0

    @property
    def id(self) -> str:
        return self.state.run.id

    @property
    def tenant_id(self) -> str:
        return self.state.run.tenant_id

    @property
    def status(self) -> RunStatus:
        return self.state.run.status


@dataclass(frozen=True)
class Change:
    row: Row
    events: tuple[RunEvent, ...]
    """With seq, run_id, step and time."""
    unfinished: bool = False
    """Runs below it are still to be told of its end (``agent.store.rules.appending``)."""


def advance(row: Row, events: Sequence[RunEvent], now: datetime) -> Change:
    """Stamps events and folds them into the row. Raises Conflict where one does not fit."""
    stamped: list[RunEvent] = []
    state = row.state
    for event in events:
        seq = state.run.last_seq + 1
        step = state.run.usage.steps + isinstance(event, DECISIONS)
        stamped.append(event.model_copy(update={"seq": seq, "run_id": row.id, "at": now, "step": step}))
        state = apply(state, stamped[-1])
    row = replace(row, state=state)
    if row.status is not RunStatus.RUNNING:
        row = replace(row, holder=None, lease_until=None)
    if row.status is RunStatus.QUEUED:
        row = replace(row, queued_at=now)
    return Change(row, tuple(stamped))


def check_writer(row: Row, events: Sequence[RunEvent], lease: Lease | None) -> None:
    """Raises LeaseLost if the lease is no longer the row's, Conflict for work without a lease."""
    if lease is not None:
        if row.fence != lease.fence or row.holder != lease.worker:
            raise LeaseLost(f"run {row.id}: the lease with fence {lease.fence} is no longer held")
        return
    for event in events:
        if not isinstance(event, WITHOUT_LEASE):
            raise Conflict(f"{event.type} needs the run's lease")
        if isinstance(event, RunEnded) and row.status is RunStatus.RUNNING:
            raise Conflict(f"run {row.id} is held by a worker, which alone can end it")
