"""Journals of both kinds, a clock that tests move, and a bench that drives runs with fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from agent.loop.agent_runtime import AgentRuntime
from agent.loop.local_hosts import LocalHosts
from agent.loop.worker import Worker, WorkerConfig
from agent.models.answer_chunks import Turn
from agent.project.agent_spec import AgentSpec, Limits
from agent.run.budgets import Prices, TenantBudgets
from agent.run.deltas import LocalDeltas
from agent.run.journal import Journal
from agent.store import memory_journal, sql_journal
from agent.testing.fakes import RuleGuard, ScriptedChatModel
from flightloop.events import RunCreated, RunEvent
from flightloop.runs import Budget, Run
from flightloop.verdicts import Action
from guardrails.interrupt import InterruptSnapshot, InterruptWatch
from guardrails.policy import default_policy, policy_of
from observability.tracing import Tracing

_DEFAULT = default_policy().document
UNTRACED = policy_of(
    _DEFAULT.model_copy(update={"tools": _DEFAULT.tools.model_copy(update={"provenance": Action.ALLOW})})
)
"""The default policy, for tests of other rules: it does not ask where the values of a write come from."""


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Journal]:
    if request.param == "memory":
        made = memory_journal(clock=clock, poll_s=0.01)
    elif request.param == "sqlite":
        made = sql_journal(f"sqlite:///{tmp_path}/journal.db", clock=clock, poll_s=0.01)
    else:
        made = sql_journal(request.getfixturevalue("server").database(), clock=clock, poll_s=0.01)
    yield made
    await made.close()


def created(text: str = "Where is my order?", **fields: Any) -> RunCreated:
    given = {"agent": "helper", "session_id": "s1", "input": text, "budget": Limits().budget()} | fields
    return RunCreated.model_validate(given)


@dataclass
class FixedKits:
    """One kit for every agent."""

    kit: AgentRuntime

    @asynccontextmanager
    async def using(self, run: Run) -> AsyncIterator[AgentRuntime]:
        yield self.kit


@dataclass
class Bench:
    """A worker over fakes. Each ``work`` claims and drives runs until none can be claimed."""

    journal: Journal
    clock: Clock
    model: ScriptedChatModel
    hosts: LocalHosts
    guard: RuleGuard
    agent: AgentSpec
    tmp_path: Path
    prices: Prices = field(default_factory=Prices)
    tenants: TenantBudgets = field(default_factory=TenantBudgets)
    deltas: LocalDeltas = field(default_factory=LocalDeltas)
    snapshot: InterruptSnapshot = field(default_factory=lambda: InterruptSnapshot(0, ()))
    unfinished: list[Worker] = field(default_factory=list)
    tracing: Tracing = field(default_factory=lambda: Tracing(TracerProvider(shutdown_on_exit=False)))
    kits: object = None
    """None: of the one agent."""

    async def start(self, text: str = "Where is my order?", **fields: Any) -> Run:
        fields.setdefault("budget", self.agent.budget.budget())
        return (await self.journal.create(created(text, **fields))).run

    def worker(self, name: str = "w1", watch: InterruptWatch | None = None, **config: Any) -> Worker:
        settings = {"lease_s": 30.0, "poll_s": 0.01, "interrupt_poll_s": 0.002, "grace_s": 5.0, "name": name} | config
        return Worker(
            self.journal,
            self.kits or FixedKits(AgentRuntime(self.agent, self.guard, self.hosts)),  # type: ignore[arg-type]
            self.model,
            "fake",
            watch or InterruptWatch(lambda: self.snapshot, 60.0),
            self.deltas,
            self.tracing,
            self.tmp_path,
            prices=self.prices,
            tenants=self.tenants,
            config=WorkerConfig(**settings),
            clock=self.clock,
        )

    async def until(self, met: Callable[[], Awaitable[bool]], worker: Worker | None = None) -> None:
        """Runs a worker until a condition holds, then drains it."""
        worker = worker or self.worker()
        task = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(20):
                while not await met():
                    assert not task.done(), "the worker ended early"
                    await asyncio.sleep(0.002)
        finally:
            worker.drain()
            await task

    async def work(self, run: Run) -> Run:
        """Until the run has ended or waits for a person."""

        async def settled() -> bool:
            return (await self.get(run)).status not in ("queued", "running", "waiting_agent")

        await self.until(settled)
        return await self.get(run)

    async def get(self, run: Run) -> Run:
        return await self.journal.get(run.tenant_id, run.id)

    async def events(self, run: Run) -> list[RunEvent]:
        return await self.journal.events(run.tenant_id, run.id)


@pytest.fixture
def make_bench(journal: Journal, clock: Clock, tmp_path: Path) -> Callable[..., Bench]:
    def make(
        script: Iterable[Turn],
        tools: Sequence[Callable[..., Any]] = (),
        guard: RuleGuard | None = None,
        prices: Prices | None = None,
        **spec: Any,
    ) -> Bench:
        declared = [function.__flightloop_tool__ for function in tools]  # type: ignore[attr-defined]
        known = {"name": "helper", "instructions": "Help.", "planning": False} | spec
        agent = AgentSpec(tools=tuple(tool.spec.name for tool in declared), **known)
        return Bench(
            journal,
            clock,
            ScriptedChatModel(script),
            LocalHosts(declared),
            guard or RuleGuard(),
            agent,
            tmp_path,
            prices or Prices(),
        )

    return make


def kinds(events: Iterable[RunEvent], *left_out: str) -> list[str]:
    """Types of events in order, without verdicts."""
    return [event.type for event in events if event.type not in {"verdict", "checks.passed", *left_out}]


__all__ = ["UNTRACED", "Bench", "Budget", "Clock", "created", "kinds"]
