"""Tool hosts without a sandbox, for tools that run in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flightloop.tool import NO_DATA, ProjectData, Tool, ToolContext, ToolRefused
from tools.host import ToolOutcome
from tools.registry import Registry
from tools.tracebacks import traceback_of
from tools.validated import known_by


@dataclass
class LocalHosts:
    """Runs tools in this process: functions in a thread, coroutines in the event loop."""

    tools: Sequence[Tool]
    attempts: list[tuple[str, str]] = field(default_factory=list)
    """Tool and idempotency key of every call that began."""
    killed: list[str] = field(default_factory=list)
    project: ProjectData = NO_DATA
    """Data of the project that the tools belong to."""

    def __post_init__(self) -> None:
        self.registry = Registry(self.tools)
        self._calls: dict[asyncio.Task[Any], str] = {}

    async def __aenter__(self) -> LocalHosts:
        return self

    async def close(self) -> None:
        pass

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        tool = self.registry.tool(name)
        self.attempts.append((name, context.key))
        context = replace(context, project=self.project)
        given = {tool.context_parameter: context, **arguments} if tool.context_parameter else arguments
        try:
            if asyncio.iscoroutinefunction(tool.function):
                return await self._in_loop(tool.function(**given), context.run_id)
            return ToolOutcome(True, await asyncio.to_thread(tool.function, **given))
        except ToolRefused as refused:
            return ToolOutcome(False, error=str(refused), refused=True)
        except Exception as error:
            told = traceback_of(error, tool.function)
            return ToolOutcome(False, error=f"{type(error).__name__}: {error}", traceback=told, uncertain=True)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return known_by(self.registry.tool(name), arguments, context, 64 * 1024)

    async def kill(self, run_id: str) -> int:
        """Cancels a run's coroutines. Threads can't be stopped."""
        self.killed.append(run_id)
        calls = [call for call, owner in self._calls.items() if owner == run_id]
        for call in calls:
            call.cancel()
        return len(calls)

    async def _in_loop(self, work: Coroutine[Any, Any, Any], run_id: str) -> ToolOutcome:
        call = asyncio.create_task(work)
        self._calls[call] = run_id
        try:
            return ToolOutcome(True, await call)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return ToolOutcome(False, error="the call was stopped", killed=True)
        finally:
            del self._calls[call]
