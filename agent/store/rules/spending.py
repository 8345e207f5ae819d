"""Usage and reservations: reads and writes of the ledger, each within a transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

from agent.run.budgets import Prices, Reservation, Shared, bounded, fit
from agent.run.state import DECISIONS
from agent.store.backend import Reserved, Transaction
from agent.store.rules.row import Change, Row
from flightloop.events import RunStarted
from flightloop.runs import RunStatus
from flightloop.usage import Amounts

SETTLING = (*DECISIONS, RunStarted)
"""Events that settle a call's reservation, as the end of a lease does."""


def settled(tx: Transaction, before: Row, change: Change, now: datetime) -> Change:
    """Adds a run's new usage to the ledger and releases its reservation.

    While the run is leased, its remaining time stays reserved.
    """
    row, run = change.row, change.row.state.run
    running = row.status is RunStatus.RUNNING
    if running and not any(isinstance(event, SETTLING) for event in change.events):
        return change
    old, new = before.state.run.usage, run.usage
    used = Amounts(
        steps=new.steps - old.steps,
        tokens=new.tokens - old.tokens,
        seconds=new.seconds - before.settled_s,
        cost=new.cost - old.cost,
    )
    if used != Amounts():
        tx.spend(run.tenant_id, run.session_id, _day(now), used, run.subject.id if run.subject else None)
    reserved = row.reserved and _keeps_time(tx, row, used.seconds if running else None)
    return replace(change, row=replace(row, settled_s=new.seconds, reserved=reserved))


def reserve(
    tx: Transaction,
    owner: Reserved,
    wanted: Reservation,
    prices: Prices,
    shared: Shared,
    gone: Collection[str],
    now: datetime,
) -> Reservation:
    """Stores a reservation, shortened to what the shared budgets leave, in place of the owner's previous one.

    Args:
        gone: holders whose reservations no longer count.

    Raises:
        Exhausted: nothing is left.
    """
    tenant = owner.tenant_id
    if bounded(shared.tenant):
        taken = tx.spent_since(tenant, _day(shared.window.since(now))) + tx.reserved(tenant, None, owner.id, gone)
        wanted = fit(wanted, shared.tenant, taken, prices, "tenant")
    if bounded(shared.session) and owner.session_id is not None:
        session = owner.session_id
        taken = tx.spent_in_session(tenant, session) + tx.reserved(tenant, session, owner.id, gone)
        wanted = fit(wanted, shared.session, taken, prices, "session")
    if bounded(shared.subject) and (subject := owner.subject) is not None:
        taken = tx.spent_by_subject(tenant, subject, _day(shared.window.since(now)))
        taken += tx.reserved(tenant, None, owner.id, gone, subject)
        wanted = fit(wanted, shared.subject, taken, prices, "subject")
    if gone:
        tx.drop_reservations(gone)
    tx.save_reservation(replace(owner, amounts=wanted.amounts(prices)))
    return wanted


def settle(tx: Transaction, owner: Reserved, used: Amounts, now: datetime) -> None:
    """Adds a completion's usage and removes its reservation."""
    tx.drop_reservation(owner.id)
    if used != Amounts():
        tx.spend(owner.tenant_id, owner.session_id, _day(now), used, owner.subject)


def _keeps_time(tx: Transaction, row: Row, used_s: float | None) -> bool:
    """Reduces a run's reservation to the time that is left, or removes it. Returns whether time stays reserved."""
    held = tx.reservation(row.id) if used_s is not None else None
    left = held.amounts.seconds - used_s if held is not None and used_s is not None else 0.0
    if held is not None and left > 0:
        tx.save_reservation(replace(held, amounts=Amounts(seconds=left)))
        return True
    tx.drop_reservation(row.id)
    return False


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
