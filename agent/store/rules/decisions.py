"""Decides approvals, and expires those that nobody decided in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.store.backend import Transaction
from agent.store.rules import appending, persons, records, writes
from agent.store.rules.records import Decided
from flightloop.acts import Actor, system
from flightloop.approvals import Approval, PersonDecision
from flightloop.events import ApprovalGiven
from flightloop.runs import Run

EXPIRING = 32
"""Approvals that expire in one transaction; bounds how long other writes wait."""
EXPIRED = Decided("expired", system("journal"), "nobody decided in time")


@dataclass(frozen=True)
class Given:
    """What a person decides about an approval."""

    decision: Literal["approve", "deny"]
    person: Actor
    reason: str | None = None
    by: str = ""
    """Name in the run's events."""


def decide(
    tx: Transaction, tenant_id: str, approval_id: str, given: Given, others: Sequence[Actor], now: datetime
) -> tuple[Approval, Run]:
    """Decides an approval, or adds one of several persons' approvals to it.

    Args:
        others: holders of keys that are not in the store and may decide, too.

    Raises:
        NotFound: no such approval.
        Conflict: it is already decided or has expired, or the person has approved already.
        Forbidden: the policy keeps this person from approving, or the key was revoked.
    """
    approval = records.decidable(tx, tenant_id, approval_id, now)
    note = ""
    if given.decision == "approve":
        run = appending.find(tx, approval.run_id).state.run
        note = persons.admit(tx, tenant_id, approval, given.person, run, others)
    else:
        persons.check_key(tx, tenant_id, given.person)
    one = PersonDecision(
        decision=given.decision, by=given.by, key_id=given.person.id, at=now, reason=given.reason, note=note
    )
    approval = approval.model_copy(update={"decisions": [*persons.counted(tx, tenant_id, approval), one]})
    if given.decision == "approve" and approval.given < approval.needed:
        return approval, _keep(tx, tenant_id, approval, given.person, one, now)
    outcome: Literal["approved", "denied"] = "approved" if given.decision == "approve" else "denied"
    closed, run = _close(tx, [approval], Decided(outcome, given.person, given.reason, given.by), now)
    return closed[0], run


def expire(tx: Transaction, now: datetime) -> list[tuple[list[Approval], Run]]:
    """Expires the approvals that are due, at most ``EXPIRING``, grouped by run."""
    due: dict[str, list[Approval]] = {}
    for approval in tx.overdue_approvals(now, EXPIRING):
        due.setdefault(approval.run_id, []).append(approval)
    return [_close(tx, group, EXPIRED, now) for group in due.values()]


def _keep(
    tx: Transaction, tenant_id: str, approval: Approval, person: Actor, one: PersonDecision, now: datetime
) -> Run:
    """Stores an approval for which further persons are needed."""
    row = appending.find(tx, approval.run_id)
    event = ApprovalGiven(
        approval_id=approval.id,
        call_id=approval.call_id,
        by=one.by,
        reason=one.reason,
        note=one.note,
        given=approval.given,
        needed=approval.needed,
    )
    run = appending.write(tx, row, [event], now).row.state.run
    tx.save_approval(approval)
    records.record_decision(tx, tenant_id, approval, Decided("given", person, one.reason, one.by), now)
    return run


def _close(tx: Transaction, approvals: list[Approval], decided: Decided, now: datetime) -> tuple[list[Approval], Run]:
    """Closes approvals of one run."""
    row = appending.find(tx, approvals[0].run_id)
    closed, events = records.decision(tx, row.tenant_id, approvals, row.status, decided, now)
    if decided.outcome == "denied":
        for approval in closed:
            writes.deny(tx, row.state.run, approval)
    return closed, appending.write(tx, row, events, now).row.state.run
