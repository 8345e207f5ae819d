"""Limits on a tenant's interrupts, because every process checks all of them for each completion and run."""

from __future__ import annotations

from hashlib import sha256

from agent.store.backend import Transaction
from flightloop.errors import Conflict
from flightloop.runs import Interrupt

MOST = 1000
"""Maximum number of active interrupts of agents and sessions. Single runs don't count: they can always be stopped."""

KEPT = 500
"""Maximum number of stored interrupts per tenant that are cleared or of single runs. One more represents older ones."""

PAST = "represents older, cleared interrupts"


def standing(tx: Transaction, tenant_id: str, scope: str) -> Interrupt | None:
    """At the limit, the active interrupt with scope "all", used instead of a new one; None if a new one is allowed.

    Raises Conflict at the limit for other scopes. A first interrupt with scope "all" is always allowed.
    """
    if scope == "run" or tx.latched(tenant_id) < MOST:
        return None
    if scope == "all":
        return next((stop for stop in tx.interrupts(tenant_id, None) if stop.scope == "all"), None)
    raise Conflict(
        f"{MOST} interrupts are active, which is the limit: stop everything (scope 'all'), or clear some of those that"
        " GET /v1/interrupts lists"
    )


def forget(tx: Transaction, tenant_id: str) -> None:
    """Removes all but the newest ``KEPT`` cleared and single-run interrupts.

    A run that was queued or waiting may not have seen the removed interrupts. So a cleared interrupt with scope "all"
    and the latest of their epochs replaces them. It may stop more runs than they did, but never fewer; stopped runs can
    be resumed.
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
