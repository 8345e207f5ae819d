"""Our agent runtime (`bench.peers.stepping`), in our own environment: a worker that claims runs from the journal.

===========  =======================================================================================================
mode         what it runs with
===========  =======================================================================================================
``durable``  the journal in SQLite (WAL, synchronous=FULL); a gate that lets everything through; no telemetry
``keyed``    the same with a tool whose effect is `keyed`: the intent is committed before the call
``memory``   as ``durable``, with the journal in memory
``guarded``  as ``durable``, with the default policy, traces written to files, metrics and the projection of the journal
===========  =======================================================================================================

The tool runs in this process, as in the peers, not in a tool host. Everything else is as in ``python -m agent worker``:
claims, leases, fences, polling for interrupts, garbage collection as set by `agent.serve.garbage_collection`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from agent.loop.agent_runtime import AgentRuntime
from agent.loop.local_hosts import LocalHosts
from agent.loop.worker import Worker
from agent.models.answer_chunks import calls, text
from agent.models.chat_model import Capabilities, ChatModel
from agent.models.measured import MeasuredChatModel
from agent.project.agent_spec import AgentSpec, Limits
from agent.reporting.projector import Projector
from agent.run.deltas import LocalDeltas
from agent.run.journal import new_id
from agent.serve.garbage_collection import settle
from agent.store import StoreJournal, memory_journal, sql_journal
from agent.store.sql.interrupt_reader import reader
from agent.testing.fakes import PlainStream
from bench.engine.quiet import only_warnings
from bench.peers.protocol import Answer, Task, serve
from bench.peers.stepping import ANSWER, ARGUMENT, INSTRUCTIONS, MODEL, QUESTION, TOOL, Load, Orders, timed
from flightloop.chat import ChatChunk, ChatRequest, ToolDef
from flightloop.content import text_of
from flightloop.events import RunCreated
from flightloop.model_card import ModelCard
from flightloop.runs import Run
from flightloop.tool import Effect, Tool, ToolContext, tool, tool_of
from flightloop.verdicts import Action
from guardrails.guard import Guard
from guardrails.interrupt import InterruptSnapshot, InterruptWatch
from guardrails.policy import default_policy
from guardrails.types import Checked, GuardContext, Ruling
from observability.aggregator import Aggregator
from observability.config import ObservabilityConfig, TracingConfig
from observability.metrics import Metrics
from observability.tracing import Tracing, setup, untraced

AGENT = "clerk"
FIRST = 2
"""Messages of the first prompt: instructions and question."""
UNBOUNDED = Limits(steps=1000, tokens=10**9, seconds=3600)


class Flightloop:
    """Our runtime. Modes are those of the table."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        only_warnings()
        self._folder = Path(options["folder"])

    def settings(self, task: Task) -> list[dict[str, Any]]:
        return [{}]

    def about(self) -> Answer:
        return {"version": version("flightloop-platform")}

    def steps(self, mode: str, runs: int, steps: int, calls: int) -> Answer:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            return asyncio.run(_steps(Path(folder), mode, Load(runs, steps, calls)))


async def _steps(folder: Path, mode: str, load: Load) -> Answer:
    orders, model = Orders(), Instant(load)
    database = None if mode == "memory" else folder / "journal.db"
    async with AsyncExitStack() as stack:
        journal = sql_journal(f"sqlite:///{database}") if database else memory_journal()
        stack.push_async_callback(journal.close)
        read = reader(f"sqlite:///{database}") if database else lambda: InterruptSnapshot(0, ())
        guarded = mode == "guarded"
        kit = AgentRuntime(
            _agent(load),
            Guard(default_policy()) if guarded else Ungated(),
            LocalHosts([_tool(orders, Effect.KEYED if mode == "keyed" else Effect.PURE)]),
        )
        seen, tracing = (
            await stack.enter_async_context(_observed(folder, journal, model)) if guarded else _unseen(model)
        )
        worker = Worker(
            journal,
            OneKit(kit),  # type: ignore[arg-type]
            seen,
            MODEL,
            InterruptWatch(read, max_silence_s=60.0),
            LocalDeltas(),
            tracing,
            folder,
        )
        await stack.enter_async_context(_working(worker))
        settle()
        return await timed(load, lambda: _run(journal, model), orders, database)


async def _run(journal: StoreJournal, model: Instant) -> str:
    """Performs one run, from creation to end. Nothing reads the run before the model has answered."""
    model.answered.clear()
    wanted = {"agent": AGENT, "session_id": new_id("session"), "input": QUESTION, "budget": UNBOUNDED.budget()}
    run = (await journal.create(RunCreated.model_validate(wanted))).run
    await model.answered.wait()
    while not run.status.terminal:
        await journal.wait(run.id, run.last_seq, 1.0)
        run = await journal.get(run.tenant_id, run.id)
    return text_of(run.output or [])


class Instant:
    """A model that answers at once: its answers are prepared in advance."""

    capabilities = Capabilities()

    def __init__(self, load: Load) -> None:
        wanted = [[(TOOL, {ARGUMENT: number}) for number in load.numbers(step)] for step in range(load.steps - 1)]
        self._turns = [*(calls(*each) for each in wanted), text(ANSWER)]
        self._messages = 1 + load.calls
        self.answered = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        step = (len(request.messages) - FIRST) // self._messages
        for chunk in self._turns[step]:
            assert isinstance(chunk, ChatChunk)
            yield chunk
        if step == len(self._turns) - 1:
            self.answered.set()

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id=MODEL)]


class Ungated:
    """A guard that permits everything and has no verdicts."""

    policy = default_policy()

    async def check(self, checked: Checked) -> Ruling:
        arguments = checked.call.arguments if checked.call else None
        return Ruling(Action.ALLOW, checked.text, arguments, (), "", checked.context.tainted)

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        return list(tools)

    def stream(self, context: GuardContext) -> PlainStream:
        return PlainStream(context)


@dataclass(frozen=True)
class OneKit:
    kit: AgentRuntime

    @asynccontextmanager
    async def using(self, run: Run) -> AsyncIterator[AgentRuntime]:
        yield self.kit


def _agent(load: Load) -> AgentSpec:
    return AgentSpec(
        name=AGENT,
        instructions=INSTRUCTIONS,
        tools=(TOOL,),
        planning=False,
        parallel_calls=load.calls,
        budget=UNBOUNDED,
    )


def _tool(orders: Orders, effect: Effect) -> Tool:
    @tool(effect=effect, name=TOOL)
    async def look_up(context: ToolContext, number: int) -> str:
        """Looks up an order."""
        return await orders.look_up(number)

    declared = tool_of(look_up)
    assert declared is not None
    return declared


def _unseen(model: Instant) -> tuple[ChatModel, Tracing]:
    return model, Tracing(untraced())


@asynccontextmanager
async def _observed(folder: Path, journal: StoreJournal, model: Instant) -> AsyncIterator[tuple[ChatModel, Tracing]]:
    """Observers of a run in a deployment: traces, metrics, and the journal's projection."""
    config = ObservabilityConfig(tracing=TracingConfig(directory=folder / "traces"))
    metrics, provider = Metrics("worker"), setup(config.tracing)
    projecting = asyncio.create_task(Projector(journal, config, Aggregator(config.expiry_s).ingest, metrics).run())
    try:
        yield MeasuredChatModel(model, metrics, MODEL), Tracing(provider)
    finally:
        projecting.cancel()
        await asyncio.gather(projecting, return_exceptions=True)
        provider.shutdown()


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.drain()
        await task


if __name__ == "__main__":
    serve(Flightloop)
