"""The ledger: what a session's and a tenant's calls have used together, and what those that go on may use yet.

It belongs to the journal's store. What a run uses is added in the transaction that journals its decision, so a
session's and a tenant's sums are those of the journal's events (and of completions, which have none). A reservation
is written before a call begins and is gone with that decision, with the run's lease, or with the process that holds
it: none outlives its call for longer than nobody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.run.budgets import Prices, Reservation, Shared, Window
from agent.run.lease import Lease
from flightloop.usage import Amounts, Spending


@dataclass(frozen=True)
class Completion:
    """A model call that belongs to no run. ``holder`` is the process that serves it, by a name that none had before."""

    id: str
    tenant_id: str
    session_id: str | None
    holder: str


class Ledger(Protocol):
    async def reserve(self, lease: Lease, wanted: Reservation, prices: Prices, shared: Shared) -> Reservation:
        """Reserves for a run's next model call, in the place of what it had reserved before.

        Returns:
            What is wanted, shortened to what the shared bounds leave.

        Raises:
            Exhausted: they leave nothing.
            LeaseLost: the lease is no longer the run's.
        """
        ...

    async def reserve_completion(
        self, completion: Completion, wanted: Reservation, prices: Prices, shared: Shared
    ) -> Reservation:
        """As ``reserve``, until it is settled. Raises Exhausted."""
        ...

    async def settle(self, completion: Completion, used: Amounts) -> None:
        """Counts what a completion used, whether something was reserved for it or not."""
        ...

    async def spending(self, tenant_id: str, window: Window, session_id: str | None = None) -> Spending:
        """Of the tenant in its window; of a session, over all times, if one is named. Without the budget."""
        ...
