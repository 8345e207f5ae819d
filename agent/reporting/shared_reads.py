"""Shares one read among all callers that need its result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REST = 4.0
"""Pause after a read, as a multiple of its duration: reads use at most a fifth of the event loop's time."""
MOST_REST_S = 1.0
"""Longest pause. A slow read may have waited for a disk, which costs the event loop nothing."""


class SharedReads(Generic[T]):
    """Answers concurrent requests for the same name with one read, which begins after they have arrived.

    Reads are made one at a time, with a pause after each.

    Args:
        read: reads the value with a given name.
    """

    def __init__(self, read: Callable[[str], Awaitable[T]]) -> None:
        self._read = read
        self._next: dict[str, asyncio.Task[T]] = {}  # by name: reads that have not begun
        self._turn = asyncio.Lock()
        self._rested = 0.0

    async def __call__(self, name: str) -> T:
        """Returns the current value of a name. Raises the errors of ``read``."""
        if name not in self._next:
            self._next[name] = asyncio.create_task(self._made(name))
        return await asyncio.shield(self._next[name])  # others may wait for the same read

    async def _made(self, name: str) -> T:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(0.0, self._rested - loop.time()))
            del self._next[name]  # later callers get the next read
            began = loop.time()
            try:
                return await self._read(name)
            finally:
                ended = loop.time()
                self._rested = ended + min(REST * (ended - began), MOST_REST_S)
