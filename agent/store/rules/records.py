"""Records that follow from events: audit records and approvals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from agent.store.backend import Transaction
from agent.store.rules.acts import Entry, add
from agent.store.rules.row import Change
from flightloop.acts import Act, Actor, ActorKind, system
from flightloop.errors import Conflict, NotFound
from flightloop.events import ApprovalDecided, ApprovalRequested, ChecksPassed, Judged, RunEvent, RunResumed
from flightloop.runs import Approval, Run, RunStatus
from flightloop.verdicts import Action, Stage, Verdict, passed

REASONS = 8
"""Maximum number of different reasons of allowing verdicts in a record, per rail."""
OUTSIDE = system("api")
"""Actor of verdicts that were given outside a run."""


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
    first = [_entry(telling[0], others=telling[1:], passed=short.pop(0) if short else None)] if telling else []
    return [*first, *(_entry(one.verdicts[0], passed=one) for one in short)]


def _entry(verdict: Verdict, **fields: Any) -> Entry:
    return Entry(actor=OUTSIDE, verdict=verdict, **fields)


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


def follow(tx: Transaction, change: Change, now: datetime, holder: str | None) -> None:
    """Writes the records that follow from a run's new events; ``holder``: the worker that holds the run."""
    worker = Actor(kind=ActorKind.WORKER, name=holder) if holder else system("journal")
    run = change.row.state.run
    entries = []
    for event in change.events:
        if isinstance(event, Judged):
            entries.append(Entry(worker, verdict=event.verdict, run_id=run.id, step=event.step, call_id=event.call_id))
        elif isinstance(event, ChecksPassed):
            first = event.passed.verdicts[0]
            entries.append(Entry(worker, verdict=first, run_id=run.id, step=event.step, passed=event.passed))
        elif isinstance(event, ApprovalRequested):
            fields = event.model_dump(exclude={"seq", "at", "step", "type", "approval_id"})
            whose = {"agent": run.agent, "started_by": run.started_by, "subject": run.subject}
            approval = Approval.model_validate({**fields, **whose, "id": event.approval_id, "created_at": now})
            tx.add_approval(run.tenant_id, approval)
    add(tx, run.tenant_id, entries, now)
    if run.status.terminal:
        decided = Decided("expired", system("journal"), f"the run ended: {run.status}")
        for approval in tx.pending_approvals(run.id):
            _close(tx, run.tenant_id, approval, decided, now)


def given(tx: Transaction, run: Run, verdicts: Sequence[Verdict], actor: Actor | None, now: datetime) -> None:
    """Records verdicts that were given when a run was created; ``actor``: who created it."""
    entries = [Entry(actor or OUTSIDE, verdict=verdict, run_id=run.id, step=run.usage.steps) for verdict in verdicts]
    add(tx, run.tenant_id, entries, now)


def record(tx: Transaction, tenant_id: str, verdicts: Sequence[Verdict], owner: str, now: datetime) -> None:
    """Records verdicts given outside a run: audit records, and events under id ``owner`` for the projections."""
    entries = together(verdicts)
    add(tx, tenant_id, entries, now)
    told: list[RunEvent] = [Judged(verdict=one) for one in verdicts if not one.plain]
    told += [ChecksPassed(passed=entry.passed) for entry in entries if entry.passed is not None]
    stamps = {"run_id": owner, "at": now}
    tx.add_events(tenant_id, [one.model_copy(update={**stamps, "seq": seq}) for seq, one in enumerate(told, start=1)])


def find_approval(tx: Transaction, tenant_id: str, approval_id: str) -> Approval:
    """The approval. Raises NotFound if it does not exist or belongs to another tenant."""
    found = tx.approval(approval_id)
    if found is None or found[0] != tenant_id:
        raise NotFound(f"no approval {approval_id}")
    return found[1]


def decidable(tx: Transaction, tenant_id: str, approval_id: str, now: datetime) -> Approval:
    """The pending approval. Raises NotFound, or Conflict if it is already decided or has expired."""
    approval = find_approval(tx, tenant_id, approval_id)
    if approval.status != "pending":
        raise Conflict(f"approval {approval_id} is already {approval.status}")
    if approval.expires_at <= now:
        raise Conflict(f"approval {approval_id} expired at {approval.expires_at.isoformat()}")
    return approval


@dataclass(frozen=True)
class Decided:
    """A decision about approvals."""

    outcome: Literal["given", "approved", "denied", "expired"]
    """``given``: approved by one person of several; the approval stays pending."""
    actor: Actor
    reason: str | None
    by: str = ""
    """Name in the run's events; empty: nobody decided."""


_TOLD: dict[str, Literal["approve", "deny", "expire"]] = {"approved": "approve", "denied": "deny", "expired": "expire"}


def decision(
    tx: Transaction, tenant_id: str, approvals: Sequence[Approval], status: RunStatus, decided: Decided, now: datetime
) -> tuple[list[Approval], list[RunEvent]]:
    """Closes approvals of a run in ``status``; returns them and the events to append to the run."""
    closed = [_close(tx, tenant_id, approval, decided, now) for approval in approvals]
    told, by, reason = _TOLD[decided.outcome], decided.by, decided.reason
    events: list[RunEvent] = [
        ApprovalDecided(
            approval_id=one.id, call_id=one.call_id, decision=told, by=by, reason=reason, decisions=one.decisions
        )
        for one in approvals
    ]
    if status is RunStatus.WAITING_APPROVAL and not tx.count_pending(approvals[0].run_id):
        events.append(RunResumed(by="approval"))
    return closed, events


def _close(tx: Transaction, tenant_id: str, approval: Approval, decided: Decided, now: datetime) -> Approval:
    closed = approval.model_copy(
        update={
            "status": decided.outcome,
            "decided_by": decided.by or None,
            "decision_reason": decided.reason,
            "decided_at": now,
        }
    )
    tx.save_approval(closed)
    record_decision(tx, tenant_id, closed, decided, now)
    return closed


def record_decision(tx: Transaction, tenant_id: str, approval: Approval, decided: Decided, now: datetime) -> None:
    """Adds the audit record of a decision, which the approval already has."""
    details: dict[str, Any] = {
        "decision": decided.outcome,
        "reason": decided.reason or "",
        "tool": approval.tool,
        "args_sha256": approval.args_sha256,
        "policy_sha256": approval.policy_sha256,
    }
    if approval.needed > 1 or approval.not_starter:
        details |= {"given": approval.given, "needed": approval.needed, "not_starter": approval.not_starter}
    if decided.by and approval.decisions and approval.decisions[-1].note:
        details["note"] = approval.decisions[-1].note
    entry = Entry(decided.actor, Act.APPROVAL, approval.id, details, run_id=approval.run_id, call_id=approval.call_id)
    add(tx, tenant_id, [entry], now)
