"""A run's row in the store, and how events change it."""

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
    """A run's state with its lease and queue position."""

    state: RunState
    queued_at: datetime
    holder: str | None = None
    """Worker that holds the lease."""
    fence: int = 0
    """Number of claims so far."""
    lease_until: datetime | None = None
    reserved: bool = False
    """Whether the ledger has a reservation for the run."""
    settled_s: float = 0.0
    """Seconds of the run's usage that the ledger has counted."""

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
    """Events with seq, run_id, step and time filled in."""
    unfinished: bool = False
    """Whether sub-runs remain to be cancelled (``agent.store.rules.appending``)."""
    refused: frozenset[str] = frozenset()
    """Ids of calls whose intents were not written (``agent.store.rules.limits``)."""


def advance(row: Row, events: Sequence[RunEvent], now: datetime) -> Change:
    """Stamps the events and folds them into the row. Raises Conflict if an event does not fit the run's state."""
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
    """Raises LeaseLost if the lease no longer holds the row, or Conflict if an event needs a lease."""
    if lease is not None:
        if row.fence != lease.fence or row.holder != lease.worker:
            raise LeaseLost(f"run {row.id}: the lease with fence {lease.fence} is no longer held")
        return
    for event in events:
        if not isinstance(event, WITHOUT_LEASE):
            raise Conflict(f"{event.type} needs the run's lease")
        if isinstance(event, RunEnded) and row.status is RunStatus.RUNNING:
            raise Conflict(f"run {row.id} is held by a worker: only that worker can end it")
