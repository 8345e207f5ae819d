"""Records that follow from events: audit records and approvals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.store.backend import Transaction
from agent.store.rules.row import Change
from flightloop.errors import Conflict, NotFound
from flightloop.events import ApprovalDecided, ApprovalRequested, ChecksPassed, Judged, RunEvent, RunResumed
from flightloop.runs import Approval, RunStatus
from flightloop.verdicts import Action, Passed, Stage, Verdict, passed
from guardrails.audit import sealed

REASONS = 8
"""Maximum number of different reasons of allowing verdicts in a record, per rail."""


@dataclass(frozen=True)
class Entry:
    """A verdict to audit, and where it was given."""

    verdict: Verdict
    run_id: str | None = None
    step: int | None = None
    call_id: str | None = None
    others: Sequence[Verdict] = ()
    """Further verdicts given together with ``verdict``."""
    passed: Passed | None = None
    """Verdicts without remarks given together with ``verdict``."""


def together(verdicts: Sequence[Verdict]) -> list[Entry]:
    """Groups the verdicts of one request into one entry per policy.

    Verdicts that blocked or changed something are kept in full. Verdicts that allowed with a remark are merged per
    stage and rail.
    """
    remarked: dict[tuple[Stage, str, str], list[Verdict]] = {}
    for one in verdicts:
        if one.action is Action.ALLOW and not one.plain:
            remarked.setdefault((one.stage, one.rail, one.policy_sha256), []).append(one)
    telling = [one for one in verdicts if one.action is not Action.ALLOW] + list(map(_counted, remarked.values()))
    telling.sort(key=lambda one: -one.action.severity)
    short = passed(one for one in verdicts if one.plain)
    first = [Entry(telling[0], others=telling[1:], passed=short.pop(0) if short else None)] if telling else []
    return [*first, *(Entry(one.verdicts[0], passed=one) for one in short)]


def _counted(allowed: Sequence[Verdict]) -> Verdict:
    """Merges verdicts: highest scores, all labels, sum of milliseconds."""
    first = allowed[0]
    if len(allowed) == 1:
        return first
    scores: dict[str, float] = {}
    for verdict in allowed:
        for name, score in verdict.scores.items():
            scores[name] = max(score, scores.get(name, 0.0))
    reasons = list(dict.fromkeys(verdict.reason for verdict in allowed if verdict.reason))[:REASONS]
    return first.model_copy(
        update={
            "reason": "; ".join([f"allowed {len(allowed)} texts", *reasons]),
            "spans": [],
            "scores": scores,
            "labels": list(dict.fromkeys(label for verdict in allowed for label in verdict.labels)),
            "milliseconds": round(sum(verdict.milliseconds for verdict in allowed), 3),
        }
    )


def follow(tx: Transaction, change: Change, now: datetime) -> None:
    run = change.row.state.run
    entries = []
    for event in change.events:
        if isinstance(event, Judged):
            entries.append(Entry(event.verdict, run.id, event.step, event.call_id))
        elif isinstance(event, ChecksPassed):
            entries.append(Entry(event.passed.verdicts[0], run.id, event.step, passed=event.passed))
        elif isinstance(event, ApprovalRequested):
            fields = event.model_dump(exclude={"seq", "at", "step", "type", "approval_id"})
            approval = Approval(id=event.approval_id, agent=run.agent, created_at=now, **fields)
            tx.add_approval(run.tenant_id, approval)
    audit(tx, run.tenant_id, entries, now)
    if run.status.terminal:
        for approval in tx.pending_approvals(run.id):
            _close(tx, approval, "expired", "", f"the run ended: {run.status}", now)


def record(tx: Transaction, tenant_id: str, verdicts: Sequence[Verdict], owner: str, now: datetime) -> None:
    """Records verdicts given outside a run: audit records, and events under id ``owner`` for the projections."""
    entries = together(verdicts)
    audit(tx, tenant_id, entries, now)
    told: list[RunEvent] = [Judged(verdict=one) for one in verdicts if not one.plain]
    told += [ChecksPassed(passed=entry.passed) for entry in entries if entry.passed is not None]
    stamps = {"run_id": owner, "at": now}
    tx.add_events(tenant_id, [one.model_copy(update={**stamps, "seq": seq}) for seq, one in enumerate(told, start=1)])


def audit(tx: Transaction, tenant_id: str, entries: Sequence[Entry], now: datetime) -> None:
    """Adds one record per entry to the tenant's audit chain."""
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
            passed=entry.passed,
        )
        chain.append(previous)
    tx.add_audit(chain)


def decidable(tx: Transaction, tenant_id: str, approval_id: str, now: datetime) -> Approval:
    """The pending approval. Raises NotFound, or Conflict if it is already decided or has expired."""
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
    approvals: Sequence[Approval],
    status: RunStatus,
    verdict: Literal["approve", "deny", "expire"],
    by: str,
    reason: str | None,
    now: datetime,
) -> tuple[list[Approval], list[RunEvent]]:
    """Closes approvals of a run in ``status``; returns them and the events to append to the run."""
    outcome: Literal["approved", "denied", "expired"] = (
        "approved" if verdict == "approve" else "denied" if verdict == "deny" else "expired"
    )
    closed = [_close(tx, approval, outcome, by, reason, now) for approval in approvals]
    events: list[RunEvent] = [
        ApprovalDecided(approval_id=one.id, call_id=one.call_id, decision=verdict, by=by, reason=reason)
        for one in approvals
    ]
    if status is RunStatus.WAITING_APPROVAL and not tx.count_pending(approvals[0].run_id):
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
