"""What is written because of an event: audit records and approvals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.store.backend import Transaction
from agent.store.row import Change
from flightloop.errors import Conflict, NotFound
from flightloop.events import ApprovalDecided, ApprovalRequested, Judged, RunEvent, RunResumed
from flightloop.runs import Approval, RunStatus
from flightloop.verdicts import Verdict
from guardrails.audit import sealed


@dataclass(frozen=True)
class Entry:
    """A verdict and where it was given. ``others``: given together with it."""

    verdict: Verdict
    run_id: str | None = None
    step: int | None = None
    call_id: str | None = None
    others: Sequence[Verdict] = ()


def follow(tx: Transaction, change: Change, now: datetime) -> None:
    run = change.row.state.run
    entries = []
    for event in change.events:
        if isinstance(event, Judged):
            entries.append(Entry(event.verdict, run.id, event.step, event.call_id))
        elif isinstance(event, ApprovalRequested):
            fields = event.model_dump(exclude={"seq", "at", "step", "type", "approval_id"})
            approval = Approval(id=event.approval_id, agent=run.agent, created_at=now, **fields)
            tx.add_approval(run.tenant_id, approval)
    audit(tx, run.tenant_id, entries, now)
    if run.status.terminal:
        for approval in pending(tx, run.id):
            _close(tx, approval, "expired", "", f"the run ended: {run.status}", now)


def audit(tx: Transaction, tenant_id: str, entries: Sequence[Entry], now: datetime) -> None:
    """Adds to the tenant's chain, one record an entry."""
    if not entries:
        return
    previous = tx.last_audit(tenant_id)
    chain = []
    for entry in entries:
        previous = sealed(
            previous,
            at=now,
            tenant_id=tenant_id,
            run_id=entry.run_id,
            step=entry.step,
            call_id=entry.call_id,
            verdict=entry.verdict,
            others=entry.others,
        )
        chain.append(previous)
    tx.add_audit(chain)


def pending(tx: Transaction, run_id: str) -> list[Approval]:
    return [approval for approval in tx.run_approvals(run_id) if approval.status == "pending"]


def decidable(tx: Transaction, tenant_id: str, approval_id: str, now: datetime) -> Approval:
    """Raises NotFound, or Conflict for an approval that is decided or overdue."""
    found = tx.approval(approval_id)
    if found is None or found[0] != tenant_id:
        raise NotFound(f"no approval {approval_id}")
    approval = found[1]
    if approval.status != "pending":
        raise Conflict(f"approval {approval_id} is already {approval.status}")
    if approval.expires_at <= now:
        raise Conflict(f"approval {approval_id} expired at {approval.expires_at.isoformat()}")
    return approval


def decision(
    tx: Transaction,
    approval: Approval,
    status: RunStatus,
    verdict: Literal["approve", "deny", "expire"],
    by: str,
    reason: str | None,
    now: datetime,
) -> tuple[Approval, list[RunEvent]]:
    """Closes an approval; the events that its run, now in ``status``, gets for it."""
    outcome: Literal["approved", "denied", "expired"] = (
        "approved" if verdict == "approve" else "denied" if verdict == "deny" else "expired"
    )
    closed = _close(tx, approval, outcome, by, reason, now)
    events: list[RunEvent] = [
        ApprovalDecided(approval_id=approval.id, call_id=approval.call_id, decision=verdict, by=by, reason=reason)
    ]
    if status is RunStatus.WAITING_APPROVAL and not pending(tx, approval.run_id):
        events.append(RunResumed(by="approval"))
    return closed, events


def _close(
    tx: Transaction,
    approval: Approval,
    status: Literal["approved", "denied", "expired"],
    by: str,
    reason: str | None,
    now: datetime,
) -> Approval:
    closed = approval.model_copy(
        update={"status": status, "decided_by": by or None, "decision_reason": reason, "decided_at": now}
    )
    tx.save_approval(closed)
    return closed
