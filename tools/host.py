"""Tool hosts: the worker's processes that run tools, in a pool per isolation class.

A call has its host to itself, and a host serves one tenant. A timeout, a cancelled task or `ToolHosts.kill` ends the
host's whole process group; a fresh host replaces it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from flightloop.tool import POLICY_EGRESS, Permission, ToolContext, ToolSpec
from flightloop.wellformed import LEVELS, levels
from tools.config import ToolsConfig
from tools.describe import LoadedTools, load_tools
from tools.launch import share
from tools.process import HostFailed, HostProcess
from tools.sandbox.confinement import NAMESPACES
from tools.sandbox.isolation import Isolation
from tools.serving import Answer, context_to_json

log = logging.getLogger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
"""First and longest pause before a retry of a call."""
KNOWN_BY_S = 5.0
"""Time limit of `ToolHosts.known_by`, in which a tool's types convert a call's arguments."""


class Unsure(Exception):
    """A tool's types could not identify a call, so it may be equivalent to any other call of the tool."""


@dataclass(frozen=True)
class ToolOutcome:
    """Outcome of a call. ``content`` is JSON; ``error`` and ``note`` are sentences for the model."""

    ok: bool
    content: Any = None
    error: str | None = None
    note: str | None = None
    seconds: float = 0.0  # duration of all attempts
    timed_out: bool = False
    killed: bool = False  # stopped by an interrupt or a cancelled run
    traceback: str | None = None
    """Traceback of the tool: untrusted, and not for the model."""
    tries: int = 1  # number of attempts
    uncertain: bool = False
    """The call is not ``ok``, but its effect may have happened."""
    refused: bool = False
    """The tool raised ``ToolRefused``: nothing was done."""


class HostPool:
    """Hosts of one isolation class: spare ones for any tenant, and those that serve one tenant.

    At most ``config.max_hosts`` are busy at the same time, and one fewer for a single tenant, so that its long calls
    leave room for others.
    """

    def __init__(self, isolation: Isolation, tools: LoadedTools, config: ToolsConfig, data: Path | None = None) -> None:
        self._isolation = isolation
        self._tools = tools
        self._config = config
        self._data = data
        self._spare: deque[HostProcess] = deque()
        self._idle: deque[HostProcess] = deque()
        self._slots = asyncio.Semaphore(config.max_hosts)
        share = config.max_hosts - 1 if config.max_hosts > 4 else config.max_hosts
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(share))
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def acquire(self, tenant: str) -> HostProcess:
        """A host for one call of a tenant; return it with `release`. Raises HostFailed if none can start."""
        await self._shares[tenant].acquire()
        try:
            await self._slots.acquire()
        except BaseException:
            self._shares[tenant].release()
            raise
        try:
            host = await self._waiting(tenant) or await self._start()
            host.resume()
            host.tenant = tenant
            return host
        except BaseException:
            self._slots.release()
            self._shares[tenant].release()
            raise
        finally:
            self.refill()

    async def release(self, host: HostProcess, healthy: bool) -> None:
        """Takes a host back. Replaces it if it has ended, has served ``max_calls``, or was changed by a call."""
        self._slots.release()
        self._shares[host.tenant or ""].release()
        if healthy and self._reusable(host):
            host.pause()
            self._idle.append(host)
            if len(self._idle) > self._config.idle:
                await self._idle.popleft().kill()
            return
        await host.kill()
        self.refill()

    async def end(self, run_id: str) -> None:
        """Ends idle hosts that have served a run: stopping a run also ends what its calls left running in them."""
        served = [host for host in self._idle if run_id in host.runs]
        for host in served:
            self._idle.remove(host)
        await asyncio.gather(*(host.kill() for host in served))

    def refill(self) -> None:
        """Starts missing spare hosts in the background."""
        missing = self._config.spare - len(self._spare) - len(self._starting)
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
        hosts = [*self._spare, *self._idle]
        self._spare.clear()
        self._idle.clear()
        await asyncio.gather(*(host.kill() for host in hosts))

    def _reusable(self, host: HostProcess) -> bool:
        # Without a PID namespace, processes that a call left behind would still run during the next call.
        alone = NAMESPACES in host.in_force or not self._isolation.subprocesses
        return host.alive and alone and host.calls < self._config.max_calls and not self._closed and host.unchanged()

    async def _waiting(self, tenant: str) -> HostProcess | None:
        """An idle host of this tenant, most recently used first, or a spare one."""
        for host in reversed(self._idle):
            if host.tenant == tenant and host.alive:
                self._idle.remove(host)
                return host
        while self._spare:
            host = self._spare.popleft()
            if host.alive:
                return host
            await host.kill()
        return None

    async def _start(self) -> HostProcess:
        return await HostProcess.start(self._isolation, self._tools, self._config, self._data)

    async def _start_spare(self) -> None:
        try:
            self._spare.append(await self._start())
        except HostFailed as error:
            log.warning("cannot start a spare tool host (%s): %s", self._isolation, error)


@dataclass(eq=False)
class _Call:
    run_id: str
    task: asyncio.Task[Any] | None = None
    killed: bool = field(default=False)


class ToolHosts:
    """Runs tools in separate processes; an async context manager.

    Args:
        tools: loaded tools; or import paths or files of modules, which are loaded now (`describe.load_tools`).
        data: the deployment's folder of tool data, for spare hosts. A call's folder may be inside it.
    """

    def __init__(
        self, tools: LoadedTools | Sequence[str | Path], config: ToolsConfig | None = None, data: Path | None = None
    ) -> None:
        self._config = config or ToolsConfig()
        self._data = data.resolve() if data else None
        self._tools = tools if isinstance(tools, LoadedTools) else load_tools(tools, self._config)
        self.registry = self._tools.registry
        self._pools: dict[Isolation, HostPool] = {}
        self._calls: set[_Call] = set()

    async def __aenter__(self) -> ToolHosts:
        """Starts the spare hosts and waits for them. If one can't start, the calls that need it will fail.

        Hosts of tools whose connections depend on an agent's policy start with their first call.
        """
        try:
            if self._data is not None:
                ready = [spec for spec in self.registry.specs() if POLICY_EGRESS not in spec.hosts]
                pools = {self._pool(Isolation.of(spec, self._data), self._data) for spec in ready}
                await asyncio.gather(*(pool.warm() for pool in pools))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Runs a tool. Returns a failure of the tool as an outcome. If cancelled, kills the host's process group.

        Raises:
            NotFound: no tool has that name.
        """
        spec = self.registry.get(name)
        entry = _Call(context.run_id)
        self._calls.add(entry)
        started = time.monotonic()
        entry.task = task = asyncio.create_task(self._perform(spec, arguments, self._with_project(context)))
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not entry.killed or (current is not None and current.cancelling()):
                raise
            seconds = time.monotonic() - started
            return ToolOutcome(False, error="the call was stopped", seconds=seconds, killed=True, uncertain=True)
        finally:
            self._calls.discard(entry)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        """Identity of a call: the same for all arguments that the tool's types convert to the same values.

        Doesn't call the tool. Its types convert the arguments in a host with the tool's folders, but without network
        and programs.

        Returns:
            None: the tool rejects these arguments, so only its schema can identify the call.

        Raises:
            NotFound: no tool has that name.
            Unsure: the conversion failed; with all of the tool's rights it might succeed.
            TimeoutError: the conversion takes longer than `KNOWN_BY_S` or the tool's ``timeout_s``.
        """
        spec = self.registry.get(name)
        plain = replace(spec, permissions=spec.permissions & {Permission.FILES}, hosts=())
        entry = _Call(context.run_id)
        self._calls.add(entry)
        entry.task = task = asyncio.create_task(self._known_by(plain, arguments, self._with_project(context)))
        try:
            answer = await task
        except HostFailed:
            raise Unsure from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not entry.killed or (current is not None and current.cancelling()):
                raise
            raise Unsure from None
        finally:
            self._calls.discard(entry)
        told = answer.content  # output of the project's code
        if answer.ok and isinstance(told, dict) and levels(told) <= LEVELS + 1:
            return told
        if answer.ok and told is None and plain.permissions == spec.permissions:
            return None  # a call would fail too
        raise Unsure

    async def _known_by(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Answer:
        pool = await self._pool_of(spec, context)
        host = await pool.acquire(context.tenant_id)
        host.runs.add(context.run_id)
        healthy = False
        try:
            async with asyncio.timeout(min(KNOWN_BY_S, spec.timeout_s)):
                answer = await host.request(_request(spec, arguments, context, known_by=True))
            healthy = True
            return answer
        finally:
            with suppress(ProcessLookupError):
                await asyncio.shield(pool.release(host, healthy))

    async def kill(self, run_id: str) -> int:
        """Ends a run's calls and their processes. Returns the number of calls."""
        calls = [call for call in self._calls if call.run_id == run_id]
        for call in calls:
            call.killed = True
            if call.task is not None:
                call.task.cancel()
        await asyncio.gather(*(call.task for call in calls if call.task is not None), return_exceptions=True)
        await asyncio.gather(*(pool.end(run_id) for pool in self._pools.values()))
        return len(calls)

    async def close(self) -> None:
        """Ends all calls and all hosts."""
        for run_id in {call.run_id for call in self._calls}:
            await self.kill(run_id)
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def _with_project(self, context: ToolContext) -> ToolContext:
        return replace(context, project=self._tools.project)

    def _pool(self, isolation: Isolation, data: Path) -> HostPool:
        if isolation not in self._pools:
            self._pools[isolation] = HostPool(isolation, self._tools, self._config, data.resolve())
        return self._pools[isolation]

    async def _pool_of(self, spec: ToolSpec, context: ToolContext) -> HostPool:
        data = self._data if self._data and self._data in context.data.parents else context.data
        if data != context.data:
            await asyncio.to_thread(share, context.data)
        return self._pool(Isolation.of(spec, data, context.egress), data)

    async def _perform(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        try:
            pool = await self._pool_of(spec, context)
            host = await pool.acquire(context.tenant_id)
        except HostFailed as error:
            return ToolOutcome(False, error=str(error))
        return await _Attempts(pool, spec, arguments, context).run(host)


@dataclass(frozen=True)
class _Attempts:
    """Attempts of a call: the first one, and retries as the tool's ``retries`` and ``timeout_s`` allow."""

    pool: HostPool
    spec: ToolSpec
    arguments: dict[str, Any]
    context: ToolContext
    began: float = field(default_factory=time.monotonic)

    async def run(self, host: HostProcess) -> ToolOutcome:
        """Makes the attempts, the first on ``host``. Returns the outcome of the last, with the duration of all."""
        tries = 1
        outcome, again = await self._attempt(host)
        uncertain = outcome.uncertain
        while again and tries <= self.spec.retries and (pause := backoff(tries)) < self._left():
            log.warning("%s failed in attempt %d of %d", self.spec.name, tries, self.spec.retries + 1)
            await asyncio.sleep(pause)
            try:
                host = await self.pool.acquire(self.context.tenant_id)
            except HostFailed:
                break  # the tool's own message is more helpful
            tries += 1
            outcome, again = await self._attempt(host)
            uncertain = uncertain or outcome.uncertain
        seconds = time.monotonic() - self.began
        return replace(outcome, tries=tries, seconds=seconds, uncertain=uncertain and not outcome.ok)

    def _left(self) -> float:
        return self.spec.timeout_s - (time.monotonic() - self.began)

    async def _attempt(self, host: HostProcess) -> tuple[ToolOutcome, bool]:
        """Makes one attempt. Returns its outcome, and whether a retry may help."""
        host.runs.add(self.context.run_id)
        healthy = False
        try:
            async with asyncio.timeout(self._left()):
                answer = await host.request(_request(self.spec, self.arguments, self.context))
            healthy = True
            raised = answer.raised or answer.traceback is not None
            told = ToolOutcome(
                answer.ok,
                answer.content,
                answer.error,
                answer.note,
                traceback=answer.traceback,
                uncertain=raised,
                refused=answer.refused and not answer.ok and not raised,
            )
            return told, raised
        except TimeoutError:
            message = f"{self.spec.name} took longer than {self.spec.timeout_s:g} s and was stopped"
            return ToolOutcome(False, error=message, timed_out=True, uncertain=True), False
        except HostFailed as error:
            return ToolOutcome(False, error=str(error), uncertain=True), True
        finally:
            with suppress(ProcessLookupError):
                await asyncio.shield(self.pool.release(host, healthy))


def _request(spec: ToolSpec, arguments: dict[str, Any], context: ToolContext, **more: Any) -> dict[str, Any]:
    return {"tool": spec.name, "arguments": arguments, "context": context_to_json(context), **more}


def backoff(tries: int) -> float:
    """Seconds to wait after ``tries`` attempts: doubles each time, multiplied by a random factor from 0.5 to 1."""
    longest: float = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)
