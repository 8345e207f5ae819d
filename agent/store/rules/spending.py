"""What is used and reserved: reads and writes of the ledger, each within a transaction."""

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
"""Events that say what a call used, or that it has come to nothing; so does the end of a lease."""


def settled(tx: Transaction, before: Row, change: Change, now: datetime) -> Change:
    """Counts what a run has used by events that are written now, and lets go of what it had reserved.

    Time stays reserved from one call to the next.
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
        tx.spend(run.tenant_id, run.session_id, _day(now), used)
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
    """Writes what the shared bounds leave of a wish, in the place of what the owner had reserved.

    Args:
        gone: holders whose reservations don't count any more.

    Raises:
        Exhausted: they leave nothing.
    """
    tenant = owner.tenant_id
    if bounded(shared.tenant):
        taken = tx.spent_since(tenant, _day(shared.window.since(now))) + tx.reserved(tenant, None, owner.id, gone)
        wanted = fit(wanted, shared.tenant, taken, prices, "tenant")
    if bounded(shared.session) and owner.session_id is not None:
        session = owner.session_id
        taken = tx.spent_in_session(tenant, session) + tx.reserved(tenant, session, owner.id, gone)
        wanted = fit(wanted, shared.session, taken, prices, "session")
    if gone:
        tx.drop_reservations(gone)
    tx.save_reservation(replace(owner, amounts=wanted.amounts(prices)))
    return wanted


def settle(tx: Transaction, owner: Reserved, used: Amounts, now: datetime) -> None:
    """Counts what a completion used; nothing is reserved for it any more."""
    tx.drop_reservation(owner.id)
    if used != Amounts():
        tx.spend(owner.tenant_id, owner.session_id, _day(now), used)


def _keeps_time(tx: Transaction, row: Row, used_s: float | None) -> bool:
    """Lets go of a run's reservation, but for the time that is left of it; None: of that too."""
    held = tx.reservation(row.id) if used_s is not None else None
    left = held.amounts.seconds - used_s if held is not None and used_s is not None else 0.0
    if held is not None and left > 0:
        tx.save_reservation(replace(held, amounts=Amounts(seconds=left)))
        return True
    tx.drop_reservation(row.id)
    return False


def _day(now: datetime) -> str:
    return now.astimezone(UTC).date().isoformat()
