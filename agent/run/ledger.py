"""Ledger: usage and reservations of a session's or tenant's runs and completions, which share a budget.

The ledger is part of the journal's store. Usage of a run is added in the transaction that journals its decision, so
sums always match the journal's events (completions have no events). A reservation is written before a call begins. It
is removed with the decision, at the end of the run's lease, or when the process that made it has died. Readers ignore
stale reservations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.run.budgets import Prices, Reservation, Shared, Window
from agent.run.lease import Lease
from flightloop.usage import Amounts, Spending


@dataclass(frozen=True)
class Completion:
    """A model call outside a run. ``holder`` is the name of the serving process, which is never reused."""

    id: str
    tenant_id: str
    session_id: str | None
    holder: str
    subject: str | None = None
    """Id of the subject; None: anonymous."""


class Ledger(Protocol):
    async def reserve(self, lease: Lease, wanted: Reservation, prices: Prices, shared: Shared) -> Reservation:
        """Reserves a run's next model call and replaces the run's previous reservation.

        Returns:
            ``wanted``, shortened to what the shared budgets leave.

        Raises:
            Exhausted: nothing is left.
            LeaseLost: the lease no longer holds the run.
        """
        ...

    async def reserve_completion(
        self, completion: Completion, wanted: Reservation, prices: Prices, shared: Shared
    ) -> Reservation:
        """Like ``reserve``, for a completion. The reservation ends with ``settle``. Raises Exhausted."""
        ...

    async def settle(self, completion: Completion, used: Amounts) -> None:
        """Adds a completion's usage and removes its reservation, if any."""
        ...

    async def spending(
        self, tenant_id: str, window: Window, session_id: str | None = None, subject: str | None = None
    ) -> Spending:
        """Spending of a tenant or one of its subjects in the current window, or of a session since its start.
        ``budget`` is not filled in."""
        ...
