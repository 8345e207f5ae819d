"""Limits on sums and counts of calls over time: where their sums are read.

The sums are part of the journal's store. A run's call is counted in the transaction that journals its intent
(``Journal.append``), which checks the limits again. A call that failed for sure is not counted any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from guardrails.limit_share import LimitShare

CallShares = Sequence[tuple[str, LimitShare]]
"""What calls add to limits over time, each with the id of its call."""


class CallOwner(Protocol):
    """The run or completion that makes calls."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def session_id(self) -> str | None: ...


class LimitSums(Protocol):
    async def used(self, owner: CallOwner, call_id: str, shares: Sequence[LimitShare]) -> list[Decimal]:
        """For each share, the sum of the other calls of the owner's tenant in the limit's window."""
        ...

    async def take(self, owner: CallOwner, shares: CallShares) -> frozenset[str]:
        """Counts calls that others perform, so that their outcomes stay unknown.

        Returns the ids of the calls that the limits have no room for; if there are any, none is counted.
        """
        ...
