"""Fair scheduling of slow work: tenants take turns, however much work each has waiting."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")
"""The tenant for whom the current task works; empty: the platform itself."""


class Turns:
    """Limits concurrent work, in all and per tenant.

    Args:
        most: maximum number of turns taken at a time.
        each: maximum number of turns that one tenant takes at a time; None: ``most``.
    """

    def __init__(self, most: int, each: int | None = None) -> None:
        self._free = most
        self._each = most if each is None else each
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a turn, of all tenants. Cancelled ones count until their turn comes."""
        return sum(map(len, self._waiting.values()))

    def waits(self, tenant_id: str) -> int:
        """Number of waiting requests of one tenant."""
        return len(self._waiting.get(tenant_id, ()))

    @asynccontextmanager
    async def one(self, tenant_id: str) -> AsyncIterator[None]:
        """Holds a turn while the context is open. Don't wait for a client inside."""
        await self.take(tenant_id)
        try:
            yield
        finally:
            self.give_back(tenant_id)

    async def take(self, tenant_id: str) -> None:
        """Waits for a turn and takes it until ``give_back``."""
        if self._free and self._taken[tenant_id] < self._each:
            self._begin(tenant_id)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came at the moment of the cancellation
                self.give_back(tenant_id)
            raise

    def give_back(self, tenant_id: str) -> None:
        self._free += 1
        self._end(tenant_id)
        while self._free and (following := self._next()) is not None:
            queue = self._waiting.pop(following)
            turn = queue.popleft()
            if queue:
                self._waiting[following] = queue  # behind the other tenants
            if not turn.done():
                self._begin(following)
                turn.set_result(None)

    def _next(self) -> str | None:
        return next((tenant_id for tenant_id in self._waiting if self._taken[tenant_id] < self._each), None)

    def _begin(self, tenant_id: str) -> None:
        self._free -= 1
        self._taken[tenant_id] += 1

    def _end(self, tenant_id: str) -> None:
        self._taken[tenant_id] -= 1
        if not self._taken[tenant_id]:
            del self._taken[tenant_id]  # otherwise the counter would grow with every tenant
