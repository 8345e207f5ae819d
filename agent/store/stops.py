"""Limits on the stops of a tenant. Every process reads and checks all of them for each completion and run."""

from __future__ import annotations

from agent.store.backend import Transaction
from flightloop.errors import Conflict
from flightloop.runs import Interrupt

MOST = 1000
"""Stops of agents and sessions. Those of single runs don't count: a run can always be stopped."""

KEPT = 500
"""Stops of a tenant that are cleared, or of single runs: whatever they were to stop has seen them long before."""


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
