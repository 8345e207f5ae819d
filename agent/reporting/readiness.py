"""Readiness: whether requests can be served now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent.models.chat_model import ChatModel
from agent.run.journal import Journal
from agent.store.sql.disk_room import Room
from flightloop.errors import FlightloopError
from flightloop.runs import ProjectInfo

TIMEOUT_S = 3.0
"""Maximum seconds per check: callers wait only a few seconds, and a replica that is being replaced does not answer."""


@dataclass(frozen=True)
class Readiness:
    """Requests can be served if nothing is ``missing``, even with invalid project files, because the last valid version
    stays in use."""

    missing: list[str] = field(default_factory=list)
    """Reasons why requests can't be served, one sentence each."""
    project: str | None = None
    """Problem with the project's files, if any."""


async def readiness(
    journal: Journal,
    model: ChatModel | None,
    project: Callable[[], ProjectInfo],
    room: Room | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Readiness:
    """Checks journal, model, disk and project.

    Args:
        model: None if a request would wake a model scaled to zero.
        project: returns the project's state; may load changed files, which takes time.
        room: reserved space on the journal's disk.
        timeout_s: maximum seconds per check.
    """
    missing, full, problem = await asyncio.gather(
        not_ready(journal, model, timeout_s), _full(room or Room(), timeout_s), _problem(project, timeout_s)
    )
    return Readiness([*missing, *full], problem)


async def _full(room: Room, timeout_s: float) -> list[str]:
    try:
        async with asyncio.timeout(timeout_s):
            lacking = await asyncio.to_thread(room.lacking)
    except TimeoutError:
        lacking = f"the journal's disk did not respond within {timeout_s:g} s"
    return [lacking] if lacking else []


async def _problem(project: Callable[[], ProjectInfo], timeout_s: float) -> str | None:
    try:
        async with asyncio.timeout(timeout_s):
            return (await asyncio.to_thread(project)).problem
    except TimeoutError:
        return f"the project's files take longer than {timeout_s:g} s to load"


async def not_ready(journal: Journal, model: ChatModel | None, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Checks journal and model. Returns the reasons why requests can't be served, one sentence each.

    Args:
        model: None if a request would wake a model scaled to zero.
        timeout_s: maximum seconds per check.
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
        missing.append(f"the model did not respond within {timeout_s:g} s")
    except FlightloopError as error:
        missing.append(error.message)
    return missing


class CachedReadiness:
    """Caches readiness for callers with short timeouts: returns the previous result while a check is slow.

    Args:
        check: performs a new check.
        patience_s: seconds to wait for a check if there is a previous result.
        kept_s: maximum age in seconds of a previous result.
    """

    def __init__(
        self, check: Callable[[], Awaitable[Readiness]], patience_s: float = 0.1, kept_s: float = 10.0
    ) -> None:
        self._check = check
        self._patience_s = patience_s
        self._kept_s = kept_s
        self._found = Readiness()
        self._at = float("-inf")
        self._checking: asyncio.Task[Readiness] | None = None

    async def __call__(self) -> Readiness:
        clock = asyncio.get_running_loop().time
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._look())
        checking = self._checking
        if clock() - self._at < self._kept_s:
            await asyncio.wait({checking}, timeout=self._patience_s)
            return self._found
        return await asyncio.shield(checking)

    async def _look(self) -> Readiness:
        self._found = await self._check()
        self._at = asyncio.get_running_loop().time()
        return self._found
