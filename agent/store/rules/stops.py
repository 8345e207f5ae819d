"""Limits on the stops of a tenant. Every process reads and checks all of them for each completion and run."""

from __future__ import annotations

from hashlib import sha256

from agent.store.backend import Transaction
from flightloop.errors import Conflict
from flightloop.runs import Interrupt

MOST = 1000
"""Stops of agents and sessions. Those of single runs don't count: a run can always be stopped."""

KEPT = 500
"""Stops of a tenant that are cleared, or of single runs. One more stands for those that were cleared before."""

PAST = "stands for older stops that were cleared"


def standing(tx: Transaction, tenant_id: str, scope: str) -> Interrupt | None:
    """None if another stop may be latched; at the limit, the latched stop of everything in place of one more.

    Raises Conflict at the limit. A first stop of everything is always possible.
    """
    if scope == "run" or tx.latched(tenant_id) < MOST:
        return None
    if scope == "all":
        return next((stop for stop in tx.interrupts(tenant_id, None) if stop.scope == "all"), None)
    raise Conflict(
        f"{MOST} stops are latched, the most there may be: stop everything (scope 'all'), or clear some of those that"
        " GET /v1/interrupts lists"
    )


def forget(tx: Transaction, tenant_id: str) -> None:
    """Leaves the newest ``KEPT`` of the past.

    A run that was queued or waited meanwhile may not have seen those before: one cleared stop of everything, as late as
    the last of them, stands for them all. It may stop more runs than they did, never fewer; a person can resume them.
    """
    past = [stop for stop in tx.forget_interrupts(tenant_id, KEPT) if stop.scope != "run"]
    if not past:
        return
    name = f"int_past_{sha256(tenant_id.encode()).hexdigest()[:32]}"
    before = tx.interrupt(name)
    last = max([*past, *([before] if before else [])], key=lambda stop: stop.epoch)
    cleared = max(stop.cleared_at or stop.created_at for stop in [*past, *([before] if before else [])])
    changes = {"id": name, "scope": "all", "target": None, "reason": PAST, "created_by": "", "cleared_at": cleared}
    (tx.save_interrupt if before else tx.add_interrupt)(last.model_copy(update=changes))
