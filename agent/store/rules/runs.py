"""Writes of runs: create, append, claim, renew, release. Each is the body of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.run.journal import Claim, Created, Idempotency, Released, new_id
from agent.run.lease import Lease, LeaseLost
from agent.run.limits import CallShares
from agent.run.state import apply
from agent.store.backend import Transaction
from agent.store.rules import appending, idempotency_records, limits, spending
from agent.store.rules.row import Change, Row, advance, check_writer
from flightloop.errors import Conflict
from flightloop.events import RunCreated, RunEnded, RunEvent, RunReleased, RunResumed, RunStarted
from flightloop.runs import WAITING, Run, RunStatus, StopReason


@dataclass(frozen=True)
class Beginning:
    """A new run that is not written yet; ``create`` fills in the interrupt epoch."""

    first: RunCreated
    row: Row
    events: Sequence[RunEvent] = ()
    """Events after the first that are not stored yet."""
    documents: Sequence[str] = ()
    """``events`` as JSON."""


def begin(created: RunCreated, now: datetime) -> Beginning:
    """Beginning of a run that is not a fork."""
    first = stamped(created, now)
    return Beginning(first, Row(apply(None, first), queued_at=now))


def stamped(created: RunCreated, now: datetime) -> RunCreated:
    """A run's first event with sequence number, id and time."""
    return created.model_copy(update={"seq": 1, "run_id": created.run_id or new_id("run"), "at": now})


def create(tx: Transaction, new: Beginning, idempotency: Idempotency | None, now: datetime) -> Created:
    earlier = idempotency_records.earlier(tx, new.first.tenant_id, idempotency, Run)
    if earlier is not None:
        return Created(earlier, replayed=True)
    if tx.run(new.row.id) is not None:
        raise Conflict(f"run {new.row.id} already exists")
    first = new.first
    check_session(tx, first.tenant_id, first.session_id, first.subject.id if first.subject else None)
    epoch = {"epoch": tx.epoch()}
    first, state = first.model_copy(update=epoch), new.row.state
    run = state.run.model_copy(update=epoch)
    tx.add_run(replace(new.row, state=replace(state, run=run)))
    tx.add_events(run.tenant_id, [first, *new.events], [first.model_dump_json(), *new.documents])
    idempotency_records.keep(tx, run.tenant_id, idempotency, run, now)
    return Created(run)


def check_session(tx: Transaction, tenant_id: str, session_id: str, subject: str | None) -> bool:
    """Whether the session has runs. Raises Conflict if they are another subject's, whose words and answers a run would
    read and whose budget and stops a completion would share."""
    owner = tx.session_owner(tenant_id, session_id)
    if owner is not None and owner.subject != subject:
        raise Conflict(
            f"session {session_id} belongs to another subject, or was begun by an anonymous one: start a new session",
            param="session_id",
        )
    return owner is not None


def append(
    tx: Transaction,
    run_id: str,
    events: Sequence[RunEvent],
    lease: Lease | None,
    children: Sequence[RunCreated],
    shares: CallShares,
    now: datetime,
) -> Change:
    row = appending.find(tx, run_id)
    check_writer(row, events, lease)
    admitted = limits.admit(tx, row.state.run, events, children, shares, now)
    events, children = admitted.events, admitted.children
    if any(isinstance(event, RunResumed) for event in events):
        appending.check_resume(tx, row)
    events = [
        event.model_copy(update={"epoch": tx.epoch()}) if isinstance(event, RunResumed) else event for event in events
    ]
    appending.check_new(tx, children)
    over = appending.above(tx, row) if lease is not None else None
    told = [appending.told(tx, over)] if over is not None else []
    change = appending.write(tx, row, [*told, *events], now)
    limits.keep(tx, admitted.counted, now)
    for child in children:
        create(tx, begin(child, now), None, now)
    if children and appending.go_on(tx, run_id, now):
        change = replace(change, unfinished=True)
    return replace(change, events=change.events[len(told) :], refused=admitted.refused)


def ended(row: Row, gone: Collection[str], sure_s: float, ttl_s: float, now: datetime) -> bool:
    """Whether the previous holder released the run or has certainly ended, so that none of its calls still runs.

    ``sure_s``: see ``Backend.sure_s``. All workers are assumed to use leases of the same length.
    """
    if row.holder is None or row.lease_until is None:
        return True
    last_sign = row.lease_until - timedelta(seconds=ttl_s)
    return row.holder in gone and (now - last_sign).total_seconds() < sure_s


def claim_next(
    tx: Transaction,
    look: Callable[[Collection[str]], Row | None],
    worker: str,
    ttl_s: float,
    now: datetime,
    has_ended: Callable[[Row], bool],
) -> Claim | bool:
    """Claims the run that ``look`` finds. Returns False if there is none, True if the caller should look again.

    A run is not claimed if one of its callers is over and its own cancellation is still pending. Then one portion of
    the family is cancelled and the tenant is skipped, so that runs of other tenants go first.
    """
    passed = set[str]()
    while (row := look(passed)) is not None:
        if (over := appending.above(tx, row)) is None:
            return claim(tx, row, worker, ttl_s, now, has_ended(row))
        if not passed and not appending.go_on(tx, over, now) and not tx.over(row.id):
            appending.write(tx, row, [appending.told(tx, over)], now)  # not reached through its parents
        passed.add(row.tenant_id)
    return bool(passed)


def claim(tx: Transaction, row: Row, worker: str, ttl_s: float, now: datetime, has_ended: bool) -> Claim:
    fence, until = row.fence + 1, now + timedelta(seconds=ttl_s)
    overtaken = not has_ended and row.holder != worker  # a worker's own earlier work on the run is already over
    started = RunStarted(worker=worker, fence=fence, overtaken=overtaken)
    change = spending.settled(tx, row, advance(row, [started], now), now)
    held = replace(change.row, holder=worker, fence=fence, lease_until=until)
    tx.add_events(row.tenant_id, change.events)
    tx.save_run(held, row)
    return Claim(held.state.run, Lease(row.id, worker, fence, until))


def renew(tx: Transaction, lease: Lease, ttl_s: float, now: datetime) -> Lease:
    row = appending.find(tx, lease.run_id)
    check_writer(row, [], lease)
    until = now + timedelta(seconds=ttl_s)
    tx.extend_lease(lease.run_id, until)
    return replace(lease, expires_at=until)


def release(tx: Transaction, lease: Lease, status: Released, seen: int | None, now: datetime) -> Change:
    row = appending.find(tx, lease.run_id)
    if row.fence != lease.fence or row.holder != lease.worker:
        raise LeaseLost(f"run {row.id}: the lease with fence {lease.fence} is no longer held")
    events: list[RunEvent] = [RunReleased(status=status)]
    # The worker may not have seen an emergency stop of this run, or the event for which the run should wait.
    if any(stop.scope == "run" and stop.target == row.id for stop in tx.interrupts(row.tenant_id, None)):
        events.append(RunEnded(status=RunStatus.INTERRUPTED, stop_reason=StopReason.INTERRUPT))
    elif status in WAITING and seen is not None and row.state.run.last_seq > seen:
        events.append(RunResumed(by="approval" if status is RunStatus.WAITING_APPROVAL else "agent"))
    return appending.write(tx, row, events, now)
