"""Decides approvals, and expires those that nobody decided in time."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from agent.store.backend import Transaction
from agent.store.rules import appending, records, writes
from agent.store.rules.records import Decided
from flightloop.acts import Actor, system
from flightloop.runs import Approval, Run

EXPIRING = 32
"""Approvals that expire in one transaction; bounds how long other writes wait."""
EXPIRED = Decided("expired", system("journal"), "nobody decided in time")


def decide(
    tx: Transaction,
    tenant_id: str,
    approval_id: str,
    verdict: Literal["approve", "deny"],
    by: str,
    reason: str | None,
    actor: Actor | None,
    now: datetime,
) -> tuple[Approval, Run]:
    """Decides an approval. Raises NotFound, or Conflict if it is already decided or has expired."""
    approval = records.decidable(tx, tenant_id, approval_id, now)
    outcome: Literal["approved", "denied"] = "approved" if verdict == "approve" else "denied"
    closed, run = _close(tx, [approval], Decided(outcome, actor or system(by), reason, by), now)
    return closed[0], run


def expire(tx: Transaction, now: datetime) -> list[tuple[list[Approval], Run]]:
    """Expires the approvals that are due, at most ``EXPIRING``, grouped by run."""
    due: dict[str, list[Approval]] = {}
    for approval in tx.overdue_approvals(now, EXPIRING):
        due.setdefault(approval.run_id, []).append(approval)
    return [_close(tx, group, EXPIRED, now) for group in due.values()]


def _close(tx: Transaction, approvals: list[Approval], decided: Decided, now: datetime) -> tuple[list[Approval], Run]:
    """Closes approvals of one run."""
    row = appending.find(tx, approvals[0].run_id)
    closed, events = records.decision(tx, row.tenant_id, approvals, row.status, decided, now)
    if decided.outcome == "denied":
        for approval in closed:
            writes.deny(tx, row.state.run, approval)
    return closed, appending.write(tx, row, events, now).row.state.run
