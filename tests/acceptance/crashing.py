"""A run that is killed at a named point; a program of its own each time, forked from one that has imported everything.

The run takes three steps of one or three calls each, and answers; it makes them itself, or has another agent make each.
Beside the journal there is a ledger, a plain file, where the model and the tool note what they did: it knows what
really happened.
"""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk.trace import TracerProvider

from agent.loop.agent_runtime import AgentRuntime, runtime_of
from agent.loop.local_hosts import LocalHosts
from agent.loop.worker import Worker, WorkerConfig
from agent.models.answer_chunks import calls, text
from agent.models.chat_model import Capabilities
from agent.project.agent_spec import AgentSpec
from agent.project.guards import Guards
from agent.project.project import Project
from agent.run.deltas import LocalDeltas
from agent.run.journal import Journal
from agent.store import StoreJournal
from agent.store.backend import Backend, Transaction
from agent.store.rules import runs
from agent.store.sql.backend import SqlBackend
from agent.store.sql.interrupt_reader import reader
from agent.store.sql.urls import synchronous
from agent.testing.fakes import RuleGuard, ScriptedChatModel, on
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import Conflict, StoreUnavailable
from flightloop.events import RunEvent
from flightloop.runs import Run
from flightloop.tool import Tool, ToolContext, tool, tool_of
from flightloop.verdicts import Action, Stage
from guardrails.interrupt import InterruptWatch
from guardrails.policy import default_policy
from observability.tracing import Tracing
from tools.registry import Registry

Stop = Literal["die", "freeze"]
STEPS = 3
CLERK = "You charge cards."
EFFECT, WRITE = "effect", "write"
"""Points inside the tool, and on the way to the database; the others are types of events, at their commit."""


@dataclass(frozen=True)
class Case:
    """Where a process dies: before or after the ``nth`` time that ``point`` comes about. Nowhere with 0."""

    effect: str
    point: str = EFFECT
    moment: str = "before"
    nth: int = 1
    parallel: int = 1
    asks: bool = False
    delegates: bool = False
    context: int | None = None
    lease_s: float = 60.0

    def __str__(self) -> str:
        asked = "-asked" * self.asks + "-delegated" * self.delegates
        return f"{self.moment}-{self.point}-{self.nth}-of-{self.parallel}-{self.effect}{asked}"


@dataclass(frozen=True)
class Ledger:
    """Lines that survive whoever wrote them."""

    path: Path

    def note(self, line: str, once: bool = False) -> int:
        """Adds a line, unless it is there and counts ``once``; tells how many of its first word there are then."""
        with self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            lines = file.read().splitlines()
            if not (once and line in lines):
                file.write(f"{line}\n")
                lines.append(line)
        return sum(each.split()[0] == line.split()[0] for each in lines)

    def count(self, begun: str) -> int:
        """Lines that begin so. Nobody is writing one meanwhile, who might be stopped with the lock."""
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return sum(f"{line.strip()} ".startswith(f"{begun} ") for line in file)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    # To this thread, which stops here. Sent to the process, another thread may take it, and this one runs on a little.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class Steps:
    """A model whose answer follows from the conversation alone, so that it can go on anywhere."""

    def __init__(self, case: Case, ledger: Ledger) -> None:
        self._case, self._ledger = case, ledger
        self.capabilities = Capabilities(context_length=case.context)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        if request.messages[0].text.startswith(CLERK):
            step, call = map(int, request.messages[1].text.split())
            charged = any(message.tool_calls for message in request.messages)
            turn = text("Charged.") if charged else calls(("charge", {"step": step, "call": call}))
            async for chunk in ScriptedChatModel([turn]).stream(request):
                yield chunk
            return
        step = sum(bool(message.tool_calls) for message in request.messages)
        if self._case.context is not None:  # some of them may be in a digest
            charged = [re.findall(r"charged (\d+)", message.text) for message in request.messages]
            step = 1 + max((int(number) for found in charged for number in found), default=-1)
        self._ledger.note(f"model {step}")
        wanted: list[tuple[str, dict[str, Any] | str]] = [
            ("ask_clerk", {"task": f"{step} {call}"})
            if self._case.delegates
            else ("charge", {"step": step, "call": call})
            for call in range(self._case.parallel)
        ]
        async for chunk in ScriptedChatModel([calls(*wanted) if step < STEPS else text("Done.")]).stream(request):
            yield chunk


def charging(case: Case, ledger: Ledger, stop: Callable[[], None]) -> Tool:
    """Notes each attempt and each effect; what is keyed or transactional has one effect a key."""

    @tool(effect=case.effect)
    def charge(context: ToolContext, step: int, call: int) -> str:
        """Charges a card."""
        attempts = ledger.note(f"attempt {context.key}")
        here = case.point == EFFECT and attempts == case.nth
        if here and case.moment == "before":
            stop()
        ledger.note(f"applied {context.key}", once=case.effect in ("keyed", "transactional"))
        if here and case.moment == "after":
            stop()
        return f"charged {step}.{call}" if case.context is None else f"charged {step}.{call}{' and more' * 90}"

    declared = tool_of(charge)
    assert declared is not None
    return declared


class Kits:
    def __init__(self, case: Case, tool: Tool) -> None:
        self._hosts = LocalHosts([tool])
        self._guards = Guards(lambda policy: RuleGuard(*([on(Stage.TOOL_CALL, Action.ASK)] if case.asks else [])))
        spec = AgentSpec(name="helper", instructions="Help.", tools=("charge",), planning=False, parallel_calls=3)
        helper = spec.model_copy(update={"tools": (), "agents": ("clerk",)}) if case.delegates else spec
        clerk = spec.model_copy(update={"name": "clerk", "instructions": CLERK})
        agents = {"helper": helper, "clerk": clerk}
        registry = Registry([tool])
        self._project = Project(Path(), agents, {"default": default_policy()}, (), registry, "")

    @asynccontextmanager
    async def using(self, run: Run) -> AsyncIterator[AgentRuntime]:
        yield runtime_of(self._project, run, self._hosts, self._guards)


class Watched:
    """A transaction that remembers which events it adds."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.types: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        self.types += [event.type for event in events]
        self._transaction.add_events(tenant_id, events, documents)


class Crashing:
    """A backend that ends its process at a case's point."""

    def __init__(self, backend: Backend, case: Case) -> None:
        self._backend, self._case = backend, case
        self._seen = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def write(self, work: Callable[[Transaction], Any]) -> Any:
        reached = False

        def watched(transaction: Transaction) -> Any:
            nonlocal reached
            watching = Watched(transaction)
            result = work(watching)  # type: ignore[arg-type]
            before, self._seen = self._seen, self._seen + watching.types.count(self._case.point)
            reached = before < self._case.nth <= self._seen
            if reached and self._case.moment == "before":
                die()
            return result

        result = await self._backend.write(watched)
        if reached:
            die()
        return result


class Noting:
    """A backend that puts into the ledger when the database refused to write.

    ``late``: it stands still once, on the way to the database with the first call's result.
    """

    def __init__(self, backend: Backend, ledger: Ledger, late: bool) -> None:
        self._backend, self._ledger, self._late = backend, ledger, late

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def write(self, work: Callable[[Transaction], Any]) -> Any:
        late = self._late and self._ledger.count("applied") > 0
        if late:
            self._late = False
            freeze()
        try:
            return await self._backend.write(work)
        except StoreUnavailable:
            self._ledger.note("refused")
            raise
        finally:
            if late:
                self._ledger.note("written late")


async def work(database: str, ledger: Ledger, case: Case, backend: Backend, stop: Callable[[], None]) -> None:
    """Drives the only run until it has ended, and approves what is asked."""
    journal = StoreJournal(backend, poll_s=0.01)
    worker = Worker(
        journal,
        Kits(case, charging(case, ledger, stop)),  # type: ignore[arg-type]
        Steps(case, ledger),  # type: ignore[arg-type]
        "fake",
        InterruptWatch(reader(database), 60.0),
        LocalDeltas(),
        Tracing(TracerProvider(shutdown_on_exit=False)),
        ledger.path.parent,
        config=WorkerConfig(lease_s=case.lease_s, poll_s=0.01),
    )
    task = asyncio.create_task(worker.run())
    while not await ended(journal):
        with suppress(Conflict, StoreUnavailable):  # decided or ended meanwhile, or later
            for approval in (await journal.approvals("default", status="pending")).data:
                await journal.decide("default", approval.id, "approve", "a person")
        await asyncio.sleep(0.01)
    worker.drain()
    await task
    await journal.close()


async def ended(journal: Journal) -> bool:
    try:
        (run,) = (await journal.runs("default", roots=True)).data
    except StoreUnavailable:
        return False
    return run.status.terminal


def drive(database: str, ledger: Path, case: Case, stop: Stop, fenced: bool) -> None:
    """What the process does."""
    backend: Backend = SqlBackend(synchronous(database))
    if stop == "die" and case.nth:
        backend = Crashing(backend, case)  # type: ignore[assignment]
    if not fenced:
        runs.check_writer = lambda row, events, lease: None
    noting = Noting(backend, Ledger(ledger), late=stop == "freeze" and case.point == WRITE)
    asyncio.run(work(database, Ledger(ledger), case, noting, die if stop == "die" else freeze))  # type: ignore[arg-type]


def forked(
    database: str, ledger: Path, case: Case, stop: Stop = "die", fenced: bool = True
) -> multiprocessing.process.BaseProcess:
    """The process, started. ``stop``: whether it dies or stands still at the case's point."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=drive, args=(database, ledger, case, stop, fenced))
    process.start()
    return process


def stands_still(process: multiprocessing.process.BaseProcess) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
