"""Whether a request could be served now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent.chat_model import ChatModel
from agent.journal import Journal
from flightloop.errors import FlightloopError

TIMEOUT_S = 3.0
"""Who asks waits a few seconds at most: a replica that is being replaced keeps its callers waiting."""


async def not_ready(journal: Journal, model: ChatModel | None, timeout_s: float = TIMEOUT_S) -> list[str]:
    """What a request could not be served for, a sentence each.

    Args:
        model: None where asking it would wake it up.
        timeout_s: longest wait for either.
    """
    missing = []
    try:
        async with asyncio.timeout(timeout_s):
            await journal.interrupt_snapshot()
    except Exception as error:
        missing.append(f"the journal cannot be read: {str(error) or type(error).__name__}")
    if model is None:
        return missing
    try:
        async with asyncio.timeout(timeout_s):
            await model.models()
    except TimeoutError:
        missing.append(f"the model gives no answer within {timeout_s:g} s")
    except FlightloopError as error:
        missing.append(error.message)
    return missing


class Remembered:
    """Readiness for those that wait only so long: where a check takes its time, what the one before found.

    Args:
        check: what is missing, a sentence each.
        patience_s: how long a check is waited for while there is an earlier finding.
        kept_s: how old that finding may be.
    """

    def __init__(
        self, check: Callable[[], Awaitable[list[str]]], patience_s: float = 0.1, kept_s: float = 10.0
    ) -> None:
        self._check = check
        self._patience_s = patience_s
        self._kept_s = kept_s
        self._found: list[str] = []
        self._at = float("-inf")
        self._checking: asyncio.Task[list[str]] | None = None

    async def __call__(self) -> list[str]:
        clock = asyncio.get_running_loop().time
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._look())
        checking = self._checking
        if clock() - self._at < self._kept_s:
            await asyncio.wait({checking}, timeout=self._patience_s)
            return list(self._found)
        return await asyncio.shield(checking)

    async def _look(self) -> list[str]:
        self._found = await self._check()
        self._at = asyncio.get_running_loop().time()
        return self._found
