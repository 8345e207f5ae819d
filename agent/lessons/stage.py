"""Runs lessons with the real loop, policy and tools on temporary data; an oracle or a model plays them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.lessons.oracle import NAME, Oracle, OutOfStep
from agent.lessons.row import row_of
from agent.loop.agent_runtime import AgentRuntime
from agent.loop.inline_runner import InlineRunner
from agent.loop.local_hosts import LocalHosts
from agent.models.chat_model import ChatModel
from agent.project.agent_spec import AgentSpec
from agent.project.project import Project
from agent.run.journal import Journal, new_id
from agent.serve.code_scan import code_scan
from agent.serve.factories import local_lookup
from agent.store import memory_journal
from flightloop.chat import ChatRequest
from flightloop.events import RunCreated
from flightloop.lessons import Case
from flightloop.runs import RunStatus
from guardrails.guard import Guard
from guardrails.policy import unasked, unhurried
from tools.registry import Registry


@dataclass(frozen=True)
class Player:
    """A model that plays cases, and its name."""

    model: ChatModel
    name: str


@dataclass
class Stage:
    """Runs cases one after the other, each in its own session and, by default, journal.

    Args:
        project: the agent's project; its tools run in this process, which is only safe for your own project.
        agent: the agent whose prompts are learned.
        data: folder of the tools' data.
    """

    project: Project
    agent: AgentSpec
    data: Path
    asked: list[ChatRequest] = field(default_factory=list)
    """Requests of the loop to the oracle in the last case."""

    def __post_init__(self) -> None:
        told = {spec.name: spec.description for spec in self.project.tools.registry.specs()}
        registry = Registry.load(self.project.tools.sources).with_descriptions(told)
        hosts = LocalHosts(registry.tools(), project=self.project.data)
        lookup = local_lookup(self.data, self.project.data).of(self.agent)
        guard = Guard(unhurried(unasked(self.project.policy_of(self.agent))), code_scan=code_scan)
        # Lessons teach what the model should do of its own accord.
        agent = self.agent.model_copy(update={"before_refusing": None})
        self._runtime = AgentRuntime(agent, guard, hosts, lookup)

    async def play(
        self, case: Case, journal: Journal | None = None, player: Player | None = None, session: str = ""
    ) -> list[dict[str, Any]]:
        """Runs a case. Returns a row for each of the customer's turns.

        Args:
            journal: journal for the runs; None: a temporary one.
            player: answers in place of the oracle.
            session: id of the runs' session; default: a new one.

        Raises:
            OutOfStep: a run did not end with an answer, or not as the case's solution does: for example because a rail
                refused a message.
        """
        runner = InlineRunner(journal or memory_journal(), lambda run: self._runtime, self.data, NAME)
        session, rows = session or new_id("lesson"), []
        self.asked.clear()
        for turn in case.turns:
            model, name = (player.model, player.name) if player else (Oracle(turn.solution, self.asked), NAME)
            budget = self.agent.budget.budget()
            created = RunCreated(agent=self.agent.name, session_id=session, input=turn.said, budget=budget)
            driven = await runner.run(created, model, name, lambda approval: case.denied)
            if driven.run.status is not RunStatus.SUCCEEDED:
                why = driven.run.error.message if driven.run.error else ""
                raise OutOfStep(f"the run ended {driven.run.status}: {why}")
            row = row_of(driven.conversation, driven.leased.history, await driven.gate.tools()).data()
            rows.append({**row, "source": self.agent.name, "intent": turn.intent or case.intent})
        return rows
