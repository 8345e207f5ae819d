"""Worker: claims runs, drives each in its own task, and stops them on request."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from agent.loop.agent_runtime import AgentRuntime, AgentRuntimes
from agent.loop.leased_run import LeasedRun
from agent.loop.loop import Loop, Stop
from agent.loop.run_dependencies import Hosts, RunDependencies
from agent.loop.session import converse
from agent.models.chat_model import ChatModel
from agent.models.retrying import RUNS, RetryingChatModel
from agent.run.budgets import Prices, TenantBudgets
from agent.run.deltas import Deltas
from agent.run.journal import Claim, Journal
from agent.run.lease import Lease, LeaseLost
from agent.run.state import tags_of
from flightloop.chat import Tags
from flightloop.errors import FlightloopError, Interrupted, NotFound, StoreUnavailable
from flightloop.events import RunEnded
from flightloop.runs import Run, RunError, RunStatus, StopReason
from guardrails.interrupt import InterruptWatch, matches
from guardrails.turns import TENANT
from observability.tracing import Tracing, end_run

log = structlog.get_logger(__name__)


_LATE_S = 0.1
"""Seconds between two polls above which this process counts as delayed."""
_ANSWER_S = 1.0
"""Longest wait in seconds for the interrupt source after such a delay."""


@dataclass(frozen=True)
class WorkerConfig:
    """Configuration of a worker; times in seconds."""

    concurrency: int = 4
    """Runs executed at the same time."""
    spare: int = 2
    """Additional places for runs of tenants that have no run at this worker."""
    call_confidence: float | None = None  # as in `RunDependencies`
    lease_s: float = 30.0
    poll_s: float = 0.5
    """Longest delay until a run created by another process is noticed."""
    interrupt_poll_s: float = 0.02
    cancel_poll_s: float = 0.1
    cancel_grace_s: float = 0.4
    """Time in which calls of a cancelled run may end by themselves; then their processes are killed."""
    grace_s: float = 1.0
    """Time in which runs may finish their step at shutdown."""
    context_length: int | None = None
    """Context length in tokens; None: as reported by the model."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    """Unique even if the next process has the same process id, as in a container."""


@dataclass(eq=False)
class _Held:
    """A claimed run and its task. Interrupts are matched with ``epoch`` and ``tags``, which are the tags of the run and
    of its callers."""

    lease: Lease
    tags: tuple[Tags, ...]
    stop: Stop = field(default_factory=Stop)
    epoch: int | None = None
    """Interrupt epoch read at the claim; None until it is read."""
    task: asyncio.Task[None] | None = None
    """None until the task runs: if it were cancelled before its first step, it could not release the run."""
    hosts: Hosts | None = None
    """Tool hosts of the run's calls; None until the runtime is loaded."""
    cancelled_at: float | None = None
    """When this worker noticed the cancellation, by the event loop's clock."""


class Worker:
    """Claims and executes runs of the journal in asyncio tasks. ``await run()`` works until ``drain`` is called.

    Args:
        runtimes: runtimes of the project's agents.
        watch: the interrupt source, which only this worker polls.
    """

    def __init__(
        self,
        journal: Journal,
        runtimes: AgentRuntimes,
        model: ChatModel,
        model_name: str,
        watch: InterruptWatch,
        deltas: Deltas,
        tracing: Tracing,
        data: Path,
        *,
        prices: Prices = Prices(),  # noqa: B008  (frozen)
        tenants: TenantBudgets = TenantBudgets(),  # noqa: B008
        config: WorkerConfig | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal = journal
        self._runtimes = runtimes
        self._model = RetryingChatModel(model, RUNS)
        self._model_name = model_name
        self._watch = watch
        self._deltas = deltas
        self._tracing = tracing
        self._data = data
        self._prices = prices
        self._tenants = tenants
        self._config = config or WorkerConfig()
        self._clock = clock
        self._held: set[_Held] = set()
        self._poll: asyncio.Task[None] | None = None
        self._passed = 0.0
        self._looking = ThreadPoolExecutor(1, "interrupts")  # a thread of its own: other work must not delay a stop
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Works until ``drain``. When it returns, all of the worker's runs have ended or are released."""
        await self._look()
        beside = [
            asyncio.create_task(self._forever(self._interrupts, self._config.interrupt_poll_s)),
            asyncio.create_task(self._forever(self._cancels, self._config.cancel_poll_s)),
            asyncio.create_task(self._forever(self._renew, self._config.lease_s / 3)),
            asyncio.create_task(self._forever(self._expire, 1.0)),
            asyncio.create_task(self._forever(self._journal.cancel_remaining_children, 1.0)),
            asyncio.create_task(self._forever(self._journal.drop_copies, 10.0)),
        ]
        try:
            while not self._draining.is_set():
                try:
                    await self._take()
                except Exception:
                    log.exception("claiming failed")
                    await self._unless_draining(self._config.poll_s)
            await self._give_back()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def drain(self) -> None:
        """Stops claiming. Running runs finish their step and are queued again."""
        self._draining.set()
        for held in self._held:
            held.stop.draining = True

    async def _take(self) -> None:
        """Claims one run, or waits for a free place or work.

        Tenants with fewer runs at this worker go first, and ``spare`` places are for tenants without any. So no tenant
        has to wait for the queue of another.
        """
        self._freed.clear()
        served = Counter(held.tags[0].tenant_id for held in self._held)
        room = self._config.concurrency - len(self._held)
        levels = sorted({0, *served.values()}) if room > 0 else [0]
        besides = [[tenant for tenant, runs in served.items() if runs > most] for most in levels]
        claim = await self._claim(besides) if room > -self._config.spare else None
        if claim is None:
            await self._wait(() if room > 0 else served.keys(), work=room > -self._config.spare)
            return
        run = claim.run
        held = _Held(claim.lease, _tags(run), Stop(draining=self._draining.is_set()))
        self._held.add(held)
        self._tasks.add(task := asyncio.create_task(self._hold(held, claim)))
        task.add_done_callback(self._tasks.discard)

    async def _claim(self, besides: Sequence[Collection[str]]) -> Claim | None:
        name, lease_s = self._config.name, self._config.lease_s
        return await self._journal.claim(name, lease_s, besides, self._draining.is_set, self._held_runs)

    @property
    def _held_runs(self) -> list[str]:
        return [held.lease.run_id for held in self._held]

    async def _wait(self, besides: Collection[str], *, work: bool) -> None:
        """Waits until a run has ended here or, with ``work``, until there may be a run to claim."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(one.wait()) for one in (self._freed, self._draining)]
        if work:
            waits.append(
                asyncio.create_task(self._journal.wait_for_work(self._config.poll_s, besides, self._held_runs))
            )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _hold(self, held: _Held, claim: Claim) -> None:
        """Drives a run until it ends, waits or is released. Never raises: an internal error ends the run."""
        held.task = asyncio.current_task()
        TENANT.set(claim.run.tenant_id)
        structlog.contextvars.bind_contextvars(run_id=claim.run.id, agent=claim.run.agent)
        try:
            await self._drive(held, claim)
        except LeaseLost:
            log.warning("lease lost: another worker has the run")
        except StoreUnavailable as error:
            log.warning("journal unavailable, the run returns to the queue", error=error.message)
            await self._put_back(held)
        except asyncio.CancelledError:
            with suppress(FlightloopError):
                if held.stop.interrupted:  # before the loop began
                    told = RunError(code=Interrupted.code, message="the emergency stop")
                    reason = StopReason.INTERRUPT
                    ended = RunEnded(status=RunStatus.INTERRUPTED, stop_reason=reason, error=told)
                    await self._journal.append(claim.run.id, [ended], claim.lease)
                else:
                    await self._journal.release(claim.lease)
        except Exception as error:
            log.exception("run failed with an internal error")
            await self._fail(claim, error)
        finally:
            self._held.discard(held)
            self._freed.set()

    async def _put_back(self, held: _Held) -> None:
        """Releases a run once the journal is available again, unless the lease is lost before. The next worker reads
        from the journal what was written."""
        while True:
            try:
                return await self._journal.release(held.lease)
            except LeaseLost:
                return None
            except StoreUnavailable:
                await asyncio.sleep(self._config.poll_s)

    async def _drive(self, held: _Held, claim: Claim) -> None:
        run = claim.run
        with self._tracing.run(run.id, run.agent, run.session_id, run.tenant_id, run.traceparent) as span:
            async with self._runtimes.using(run) as runtime:
                held.hosts = runtime.hosts
                leased = await LeasedRun.open(self._journal, run.tenant_id, claim.lease)
                stops = await self._journal.stops(run)
                held.epoch = stops.epoch
                held.stop.interrupted |= any(matches(each, tags) for each in stops.interrupts for tags in held.tags)
                length = self._config.context_length or self._model.capabilities.context_length
                sees = self._model.capabilities.sees
                conversation = await converse(self._journal, run, runtime, length, sees=sees)
                loop = Loop(self._deps(runtime, run, stops.epoch), leased, conversation, held.stop)
                run = await self._until_stopped(held, loop, runtime)
            if run.status.terminal:
                end_run(span, run.status, str(run.stop_reason))
            else:
                await self._journal.release(claim.lease, loop.rest, run.last_seq)

    async def _until_stopped(self, held: _Held, loop: Loop, runtime: AgentRuntime) -> Run:
        try:
            await self._ask_again()
            if held.stop.interrupted or self._stopped(held):
                held.stop.interrupted = True
                return await loop.interrupted()
            return await loop.drive()
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not held.stop.interrupted or current is None:
                raise
            current.uncancel()
            await runtime.hosts.kill(held.lease.run_id)
            return await loop.interrupted()

    def _deps(self, runtime: AgentRuntime, run: Run, epoch: int) -> RunDependencies:
        return RunDependencies(
            agent=runtime.agent,
            guard=runtime.guard,
            model=self._model,
            model_name=run.model or self._model_name,
            hosts=runtime.hosts,
            deltas=self._deltas,
            prices=self._prices,
            data=self._data,
            clock=self._clock,
            tracing=self._tracing,
            lookup=runtime.lookup,
            epoch=epoch,
            tenants=self._tenants,
            subagents=runtime.subagents,
            call_confidence=self._config.call_confidence,
        )

    async def _fail(self, claim: Claim, error: Exception) -> None:
        code = error.code if isinstance(error, FlightloopError) else "internal_error"
        told = RunError(code=code, message=f"{type(error).__name__}: {error}")
        ended = RunEnded(status=RunStatus.FAILED, stop_reason=StopReason.ERROR, error=told)
        try:
            await self._journal.append(claim.run.id, [ended], claim.lease)
        except Exception:
            # The journal itself may have failed: then the lease expires and the run is claimed again.
            log.exception("the failed run could not be ended")

    # -- background tasks -------------------------------------------------------------------------

    async def _look(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._looking, self._watch.poll)

    async def _interrupts(self) -> None:
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._look())
        # Leases and the watch's silence limit end runs even while the database does not respond.
        await asyncio.wait([self._poll], timeout=self._config.interrupt_poll_s)
        clock = asyncio.get_running_loop().time
        if clock() - self._passed > _LATE_S:
            await self._ask_again()
        self._passed = clock()
        for held in list(self._held):
            if held.stop.interrupted or held.task is None:
                continue
            if self._stopped(held):
                held.stop.interrupted = True
                held.task.cancel()
            elif held.lease.expires_at <= self._clock() and not held.task.cancelling():
                held.task.cancel()  # another worker may have the run; cancel once, so that the task can clean up

    async def _ask_again(self) -> None:
        """Polls again if the source only seems silent because this process was delayed."""
        for _ in range(2):  # the first poll may have begun before the delay
            if self._watch.silent and self._poll is not None:
                if self._poll.done():
                    self._poll = asyncio.create_task(self._look())
                await asyncio.wait([self._poll], timeout=_ANSWER_S)

    async def _cancels(self) -> None:
        """Kills long calls of cancelled runs; the runs then end with this step."""
        if not self._held:
            return
        now, cancelled = asyncio.get_running_loop().time(), await self._journal.cancelled(self._config.name)
        late = []
        for held in self._held:
            if held.lease.run_id not in cancelled:
                continue
            if held.cancelled_at is None:
                held.cancelled_at = now
            if held.hosts is not None and now - held.cancelled_at >= self._config.cancel_grace_s:
                late.append(held.hosts.kill(held.lease.run_id))
        await asyncio.gather(*late)

    def _stopped(self, held: _Held) -> bool:
        epoch = held.epoch
        if self._watch.silent or epoch is None or self._watch.epoch() < epoch:
            return self._watch.silent  # the watch's snapshot is older than the one read at the claim
        return any(self._watch.stopped(tags, epoch) for tags in held.tags)

    async def _renew(self) -> None:
        for held in list(self._held):
            try:
                held.lease = await self._journal.renew(held.lease, self._config.lease_s)
            except (LeaseLost, NotFound):
                # Another worker has the run, or it has ended: this task must not have any further effect.
                if held in self._held and held.task is not None:
                    held.task.cancel()

    async def _expire(self) -> None:
        await self._journal.expire_approvals()

    async def _forever(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await work()
            except Exception:
                log.exception("background task failed, will retry")
            await asyncio.sleep(every_s)

    async def _unless_draining(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), seconds)

    async def _give_back(self) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._config.grace_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _tags(run: Run) -> tuple[Tags, ...]:
    own = tags_of(run)
    callers = run.parent.callers if run.parent else []
    return own, *(own.model_copy(update={"agent": caller.agent, "run_id": caller.run_id}) for caller in callers)
