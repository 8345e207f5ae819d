"""Erases the content of runs in steps, each the body of one transaction. All steps can be repeated.

``begin`` marks the run, which then has no content in lists, and to which nothing can be added. ``finish`` removes the
last trace of the subject, by which an interrupted erasure is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from agent.run.erased import erased_approval, erased_event
from agent.run.erasure import Reason
from agent.store.backend import AuditFilter, Transaction
from agent.store.erasable import BEGUN, DONE
from agent.store.rules import acts, appending
from flightloop.acts import Act, Actor
from flightloop.events import RunErased
from flightloop.runs import Run
from flightloop.verdicts import AuditRecord
from guardrails.audit_erasure import erased

EVENTS = 256
"""Events of one transaction; fewer if they are long."""
RECORDS = 100
"""Approvals or audit records of one transaction."""


def begin(tx: Transaction, run_id: str, reason: Reason, actor: Actor, now: datetime) -> None:
    """Marks a run as erased, with an audit record. Raises NotFound, or Conflict if the run has not ended."""
    row = appending.find(tx, run_id)
    if row.state.run.erased_at is not None:
        return
    tx.mark_erased(run_id, BEGUN)
    appending.write(tx, row, [RunErased(reason=reason, by=actor.name)], now)
    acts.add(tx, row.tenant_id, [acts.Entry(actor, Act.ERASURE, run_id, {"why": reason}, run_id=run_id)], now)


def at_once(tx: Transaction, run_id: str, reason: Reason, actor: Actor, now: datetime) -> bool:
    """Begins a run's erasure, and finishes it if the run is short enough. Returns whether it did."""
    begin(tx, run_id, reason, actor, now)
    run = appending.find(tx, run_id).state.run
    if (events(tx, run_id, 0) or 0) < run.last_seq or len(tx.audit(run.tenant_id, _about(run), 0, RECORDS)) == RECORDS:
        return False
    records(tx, run, 0)
    if approvals(tx, run_id):
        return False
    finish(tx, run_id)
    return True


def events(tx: Transaction, run_id: str, after: int) -> int | None:
    """Erases a portion of a run's events. Returns the last one's number; None if there are no more."""
    found = tx.events(run_id, after, EVENTS)
    tx.replace_events([erased_event(event) for event in found if not event.erased])
    return found[-1].seq if found else None


def approvals(tx: Transaction, run_id: str) -> bool:
    """Erases a portion of a run's approvals. Returns whether there are more."""
    left = [(one, erased_approval(one)) for one in tx.run_approvals(run_id)]
    changed = [new for old, new in left if new != old]
    for approval in changed[:RECORDS]:
        tx.save_approval(approval)
    return len(changed) > RECORDS


def records(tx: Transaction, run: Run, after: int) -> int | None:
    """Erases texts in a portion of the audit records about a run. Returns as ``events`` does."""
    return erase_records(tx, tx.audit(run.tenant_id, _about(run), after, RECORDS))


def _about(run: Run) -> AuditFilter:
    return AuditFilter(run_id=run.id)


def erase_records(
    tx: Transaction,
    found: Sequence[AuditRecord],
    subject: str | None = None,
    names: Collection[str] = (),
    wanted: Callable[[AuditRecord], bool] = lambda record: True,
) -> int | None:
    """Erases texts of audit records. Returns the last one's number; None if there are none."""
    ring = tx.audit_context.keys.ring()
    for record in filter(wanted, found):
        left = erased(record, ring[-1] if ring else None, subject, names)
        if left is not record:
            tx.replace_audit(left)
    return found[-1].seq if found else None


def finish(tx: Transaction, run_id: str) -> None:
    """Erases what is left of a run in other tables, and that it belonged to a subject."""
    tx.erase_writes(run_id)
    tx.mark_erased(run_id, DONE)
