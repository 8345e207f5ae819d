"""Tool hosts: a pool of processes for each isolation class, beside the worker.

Every call runs in a host of its own while it lasts. A timeout, a cancelled task or `ToolHosts.kill` ends the host's
whole group; a fresh one takes its place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from flightloop.tool import ToolContext, ToolSpec
from tools.config import ToolsConfig
from tools.isolation import Isolation
from tools.process import HostFailed, HostProcess
from tools.registry import Registry
from tools.serving import context_to_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToolOutcome:
    """What became of a call. ``content`` is JSON; ``error`` and ``note`` are sentences for the model."""

    ok: bool
    content: Any = None
    error: str | None = None
    note: str | None = None
    seconds: float = 0.0
    timed_out: bool = False
    killed: bool = False


class HostPool:
    """Hosts of one isolation class: some idle, at most ``config.max_hosts`` at work."""

    def __init__(self, isolation: Isolation, sources: Sequence[str], config: ToolsConfig) -> None:
        self._isolation = isolation
        self._sources = sources
        self._config = config
        self._idle: deque[HostProcess] = deque()
        self._slots = asyncio.Semaphore(config.max_hosts)
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def acquire(self) -> HostProcess:
        """A host for one call, to be given back by `release`. Raises HostFailed if none can start."""
        await self._slots.acquire()
        try:
            while self._idle:
                host = self._idle.popleft()
                if host.alive:
                    return host
                await host.kill()
            return await HostProcess.start(self._isolation, self._sources, self._config)
        except BaseException:
            self._slots.release()
            raise
        finally:
            self.refill()

    async def release(self, host: HostProcess, healthy: bool) -> None:
        self._slots.release()
        if healthy and host.alive and host.calls < self._config.max_calls and not self._closed:
            self._idle.append(host)
            return
        await host.kill()
        self.refill()

    def refill(self) -> None:
        """Starts what is missing of the spare hosts, in the background."""
        missing = self._config.spare - len(self._idle) - len(self._starting)
        for _ in range(0 if self._closed else missing):
            task = asyncio.create_task(self._start_spare())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def warm(self) -> None:
        self.refill()
        await asyncio.gather(*self._starting)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._starting):
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        while self._idle:
            await self._idle.popleft().kill()

    async def _start_spare(self) -> None:
        try:
            self._idle.append(await HostProcess.start(self._isolation, self._sources, self._config))
        except HostFailed as error:
            log.warning("no spare tool host (%s): %s", self._isolation, error)


@dataclass(eq=False)
class _Call:
    run_id: str
    task: asyncio.Task[ToolOutcome] | None = None
    killed: bool = field(default=False)


class ToolHosts:
    """Runs tools out of process; an async context manager.

    Args:
        sources: import paths or files of the modules with the tools (`Registry.load`).
    """

    def __init__(self, sources: Sequence[str | Path], config: ToolsConfig | None = None) -> None:
        self._config = config or ToolsConfig()
        names = [str(Path(source).resolve()) if str(source).endswith(".py") else str(source) for source in sources]
        self.registry = Registry.load(names)
        self._pools = {
            isolation: HostPool(isolation, names, self._config)
            for isolation in sorted({Isolation.of(spec) for spec in self.registry.specs()})
        }
        self._calls: set[_Call] = set()

    async def __aenter__(self) -> ToolHosts:
        """Starts the spare hosts and waits for them; one that can't start fails the calls that need it."""
        try:
            await asyncio.gather(*(pool.warm() for pool in self._pools.values()))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Runs a tool. Never raises for what the tool does; a cancelled call kills its host's group.

        Raises:
            NotFound: no tool has that name.
        """
        spec = self.registry.get(name)
        entry = _Call(context.run_id)
        self._calls.add(entry)
        started = time.monotonic()
        entry.task = asyncio.create_task(self._perform(spec, arguments, context))
        try:
            return await entry.task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not entry.killed or (current is not None and current.cancelling()):
                raise
            seconds = time.monotonic() - started
            return ToolOutcome(False, error="the call was stopped", seconds=seconds, killed=True)
        finally:
            self._calls.discard(entry)

    async def kill(self, run_id: str) -> int:
        """Ends a run's calls and the processes behind them; returns how many calls there were."""
        calls = [call for call in self._calls if call.run_id == run_id]
        for call in calls:
            call.killed = True
            if call.task is not None:
                call.task.cancel()
        await asyncio.gather(*(call.task for call in calls if call.task is not None), return_exceptions=True)
        return len(calls)

    async def close(self) -> None:
        """Ends all calls and all hosts."""
        for run_id in {call.run_id for call in self._calls}:
            await self.kill(run_id)
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _perform(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        pool = self._pools[Isolation.of(spec)]
        try:
            host = await pool.acquire()
        except HostFailed as error:
            return ToolOutcome(False, error=str(error))
        started = time.monotonic()
        healthy = False
        request = {"tool": spec.name, "arguments": arguments, "context": context_to_json(context)}
        try:
            async with asyncio.timeout(spec.timeout_s):
                answer = await host.request(request)
            healthy = True
            return ToolOutcome(**answer, seconds=time.monotonic() - started)
        except TimeoutError:
            message = f"{spec.name} took longer than {spec.timeout_s:g} s and was stopped"
            return ToolOutcome(False, error=message, seconds=time.monotonic() - started, timed_out=True)
        except HostFailed as error:
            return ToolOutcome(False, error=str(error), seconds=time.monotonic() - started)
        except TypeError:  # the answer has other fields: a tool wrote into the pipe
            healthy = False
            return ToolOutcome(False, error="the tool's process broke its line to the worker")
        finally:
            with suppress(ProcessLookupError):
                await asyncio.shield(pool.release(host, healthy))
