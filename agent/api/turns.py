"""Whose turn it is to have work done that takes a while: the tenants' in rotation, whatever each has waiting."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """
    Args:
        most: that may be taken at a time.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Of all tenants; those who were cancelled count until their turn comes."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def one(self, tenant_id: str) -> AsyncIterator[None]:
        """A turn, for as long as the context is open. Nothing that a client decides belongs into it."""
        await self._take(tenant_id)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, tenant_id: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            tenant_id, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[tenant_id] = queue  # behind the other tenants
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
