"""Sums of calls over any backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal

from agent.run.limits import CallOwner, CallShares
from agent.store.backend import Backend, Transaction
from agent.store.rules import limits
from guardrails.limit_share import LimitShare


class StoreLimits:
    """Implements ``agent.run.limits.LimitSums``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    async def used(self, owner: CallOwner, call_id: str, shares: Sequence[LimitShare]) -> list[Decimal]:
        if not shares:
            return []
        return await self._backend.read(lambda tx: limits.used(tx, owner, call_id, shares, self._clock()))

    async def take(self, owner: CallOwner, shares: CallShares) -> frozenset[str]:
        def work(tx: Transaction) -> frozenset[str]:
            now = self._clock()
            counted, refused = limits.room(tx, owner, dict.fromkeys(call_id for call_id, _ in shares), shares, now)
            if not refused:
                limits.keep(tx, counted, now)
            return refused

        return await self._backend.write(work) if shares else frozenset()
