"""Where lessons are played: the real loop, policy and tools over a scratch shop, with an oracle for the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from agent.book import Book
from agent.budgets import Prices
from agent.compose import make_lookup
from agent.context import Conversation
from agent.deltas import LocalDeltas
from agent.fakes import LocalHosts
from agent.gate import Gate, Means
from agent.journal import Claim, Journal, new_id
from agent.kits import Kit
from agent.lessons.oracle import NAME, Oracle, OutOfStep, Solution
from agent.loop import Loop, Stop
from agent.project import Project
from agent.row import row_of
from agent.session import converse
from agent.spec import AgentSpec
from agent.store import memory_journal
from flightloop.chat import ChatRequest
from flightloop.events import RunCreated
from flightloop.runs import Run, RunStatus
from guardrails.guard import Guard
from observability.tracing import Tracing
from tools.registry import Registry

LEASE_S = 3600.0


@dataclass(frozen=True)
class Turn:
    """What the customer says, and how it is to be solved. ``intent``: where it is not the case's."""

    said: str
    solution: Solution
    intent: str = ""


@dataclass(frozen=True)
class Case:
    """One conversation. ``denied``: why the operator says no to what a rule asks; None: the operator agrees."""

    intent: str
    turns: tuple[Turn, ...]
    denied: str | None = None


@dataclass(frozen=True)
class _Driven:
    """A run as far as it came under one lease."""

    book: Book
    gate: Gate
    conversation: Conversation


@dataclass
class Stage:
    """Plays cases one after the other, each in a session and a journal of its own.

    Args:
        project: the agent's project; its tools run in this process, which is safe for the shop's own ones alone.
        agent: whose prompts are learned.
        data: folder with the shop's database.
    """

    project: Project
    agent: AgentSpec
    data: Path
    asked: list[ChatRequest] = field(default_factory=list)
    """What the loop asked in the case that was played last."""

    def __post_init__(self) -> None:
        registry = Registry.load(self.project.tool_sources)
        hosts = LocalHosts([registry.tool(name) for name in self.agent.tools])
        guard, lookup = Guard(self.project.policy_of(self.agent)), make_lookup(self.data).of(self.agent)
        self._kit = Kit(self.agent, guard, hosts, lookup)
        self._tracing = Tracing(TracerProvider(shutdown_on_exit=False))

    async def play(self, case: Case, journal: Journal | None = None) -> list[dict[str, Any]]:
        """A row for each of the customer's turns.

        Args:
            journal: that keeps the runs; none: one that nobody reads.

        Raises:
            OutOfStep: the case's solution does not fit what happened, such as a message that a rail refused.
        """
        journal = journal or memory_journal()
        session, rows = new_id("lesson"), []
        self.asked.clear()
        for turn in case.turns:
            oracle = Oracle(turn.solution, self.asked)
            budget = self.agent.budget.budget()
            created = RunCreated(agent=self.agent.name, session_id=session, input=turn.said, budget=budget)
            run = (await journal.create(created)).run
            row = await self._run(journal, run, oracle, case.denied)
            rows.append({**row, "source": self.agent.name, "intent": turn.intent or case.intent})
        return rows

    async def _run(self, journal: Journal, run: Run, oracle: Oracle, denied: str | None) -> dict[str, Any]:
        while not run.status.terminal:
            claim = await journal.claim(NAME, LEASE_S)
            assert claim is not None, run.status
            driven = await self._drive(journal, claim, oracle)
            run = driven.book.run
            if not run.status.terminal:
                await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
                for approval in await journal.run_approvals(run.id):
                    if approval.status == "pending":
                        await journal.decide(
                            run.tenant_id, approval.id, "approve" if denied is None else "deny", NAME, denied
                        )
                run = await journal.get(run.tenant_id, run.id)
        if run.status is not RunStatus.SUCCEEDED:
            raise OutOfStep(f"the run ended {run.status}: {run.error.message if run.error else ''}")
        return row_of(driven.conversation, driven.book.history, driven.gate.tools()).data()

    async def _drive(self, journal: Journal, claim: Claim, oracle: Oracle) -> _Driven:
        book = await Book.open(journal, claim.run.tenant_id, claim.lease)
        conversation = await converse(journal, claim.run, self._kit, None)
        means = Means(
            agent=self.agent,
            guard=self._kit.guard,
            model=oracle,
            model_name=NAME,
            hosts=self._kit.hosts,
            deltas=LocalDeltas(),
            prices=Prices(),
            data=self.data,
            clock=lambda: datetime.now(UTC),
            tracing=self._tracing,
            lookup=self._kit.lookup,
        )
        await Loop(means, book, conversation, Stop()).drive()
        return _Driven(book, Gate(means, book, conversation), conversation)
