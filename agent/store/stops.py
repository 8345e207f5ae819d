"""How many emergency stops of a tenant may be latched: whatever decodes or answers goes through all of them."""

from __future__ import annotations

from agent.store.backend import Transaction
from flightloop.errors import Conflict
from flightloop.runs import Interrupt

MOST = 1000
"""Of agents and sessions. Those of single runs don't count: a run can always be stopped."""


def standing(tx: Transaction, tenant_id: str, scope: str) -> Interrupt | None:
    """The stop that is there already in the place of one more; None where there is room for it.

    Raises Conflict where there is none. A stop of everything is always possible.
    """
    if scope == "run" or tx.latched(tenant_id) < MOST:
        return None
    if scope == "all":
        return next((stop for stop in tx.interrupts(tenant_id, None) if stop.scope == "all"), None)
    raise Conflict(
        f"{MOST} stops are latched, the most there may be: stop everything (scope 'all'), or clear some of those that"
        " GET /v1/interrupts lists"
    )
