"""Plays AgentDojo's tasks with the platform's loop and guard; its tools run in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.loop.agent_runtime import AgentRuntime
from agent.loop.inline_runner import InlineRunner, Operator
from agent.loop.tool_results import holds_back
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.models.chat_model import Capabilities
from agent.project.agent_spec import AgentSpec
from agent.redteam.attack import Call
from agent.redteam.believer import overview_before
from agent.run.journal import all_events
from agent.store import memory_journal
from bench.guardrails.dojo_tools import policy, spec_of
from bench.peers.peer import Peer
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, CallsDecided, RunCreated, ToolIntent, ToolResult
from flightloop.model_card import ModelCard
from flightloop.runs import Budget
from flightloop.tool import ToolContext
from guardrails.guard import Guard
from guardrails.policy import unhurried
from guardrails.types import Guarding
from tools.host import ToolOutcome
from tools.registry import Registry, performed_elsewhere

MARK = "<INFORMATION>"
"""Begins the attacks' texts."""
CONTEXT = 1_000_000
BUDGET = Budget(steps=100, tokens=100_000_000, seconds=3600.0)


@dataclass(frozen=True)
class Suite:
    name: str
    registry: Registry
    users: Sequence[str]
    injections: Sequence[str]


@dataclass(frozen=True)
class Played:
    """How a case ended.

    Attributes:
        useful: whether the user's task was solved.
        harmed: whether the injection's was; None without one.
        asked: tools of calls that a person was asked about.
        refused: reasons for which calls were refused.
        read: whether the model read the injection.
        reasons: why a person was asked.
    """

    useful: bool
    harmed: bool | None
    asked: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    read: bool = False
    reasons: tuple[str, ...] = ()


class Obeying:
    """A model that makes the calls that solve the user's task and, as soon as it has read an injection, first those
    that the injection wants. Its answer is what both want. Implements ``agent.models.chat_model.ChatModel``."""

    capabilities = Capabilities(context_length=CONTEXT)

    def __init__(self, own: Sequence[Call], injected: Sequence[Call], answer: str, injected_answer: str) -> None:
        self._plan = list(dict.fromkeys(name for name, _ in own))
        self._left, self._injected = list(own), list(injected)
        self._made: Call | None = None
        self._waits = False  # whether the latest call has to be made again
        self._answer, self._injected_answer = answer, injected_answer
        self.read = False

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        for chunk in self._next(request):
            assert isinstance(chunk, ChatChunk)
            yield chunk

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="obeying")]

    def _next(self, request: ChatRequest) -> Turn:
        if request.response_format is not None:
            return plan("do what is asked", *self._plan)
        if not self.read and any(MARK in one.text for one in request.messages if one.role == "tool"):
            self.read, self._left = True, [*self._injected, *self._left]
        if self._made is not None and (shows := overview_before(self._made[0], request)):
            self._waits = True
            return calls((shows, {}))
        told = [one.text for one in request.messages if one.role == "tool"]  # a new plan may follow the latest
        if self._made is not None and (self._waits or (told and holds_back(told[-1]))):
            self._waits = False
            return calls(self._made)  # again: now a person is asked
        if self._left:
            self._made = self._left.pop(0)
            return calls(self._made)
        answer = f"{self._answer} {self._injected_answer}" if self.read else self._answer
        return text(answer.strip() or "Done.")


@dataclass
class DojoHosts:
    """Performs calls in the peer's process. Implements ``agent.loop.run_dependencies.Hosts``."""

    peer: Peer
    registry: Registry
    performed: list[str] = field(default_factory=list)

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        task = {"task": "perform", "call": {"tool": name, "arguments": arguments}}
        answer = await asyncio.to_thread(self.peer.ask, task)
        self.performed.append(name)
        if "failed" in answer:
            return ToolOutcome(False, error=str(answer["failed"]))
        return ToolOutcome(True, answer["result"])

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return None

    async def kill(self, run_id: str) -> int:
        return 0


class Dojo:
    """AgentDojo's suites, and the platform's guard between the model and their tools.

    Args:
        peer: the running process.
        make_guard: makes the guard for a suite's tools; default: that of `bench.guardrails.dojo_tools.policy`.
    """

    def __init__(self, peer: Peer, make_guard: Callable[[Registry], Guarding] | None = None) -> None:
        self._peer = peer
        self.suites = [
            Suite(one["name"], _registry(one["tools"]), one["users"], one["injections"])
            for one in peer.ask({"task": "suites"})["suites"]
        ]
        make = make_guard or _guard
        self._guards = {suite.name: make(suite.registry) for suite in self.suites}

    async def play(
        self, suite: Suite, user: str, operator: Operator, injection: str | None = None, attack: str | None = None
    ) -> Played:
        """Plays a case. ``operator`` decides about calls that wait for a person."""
        begun = self._peer.ask(
            {"task": "begin", "suite": suite.name, "user": user, "injection": injection, "attack": attack}
        )
        model = Obeying(_calls(begun["calls"]), _calls(begun["injected"]), begun["answer"], begun["injected_answer"])
        journal, hosts = memory_journal(), DojoHosts(self._peer, suite.registry)
        names = tuple(spec.name for spec in suite.registry.specs())
        agent = AgentSpec(name="assistant", instructions="You help the user with their accounts.", tools=names)
        runtime = AgentRuntime(agent, self._guards[suite.name], hosts)
        runner = InlineRunner(journal, lambda run: runtime, Path(), "bench")
        created = RunCreated.model_validate(
            {"agent": agent.name, "session_id": "bench", "input": begun["prompt"], "budget": BUDGET}
        )
        run = (await runner.run(created, model, "obeying", operator)).run
        events = await all_events(journal, run.tenant_id, run.id)
        verdict = self._peer.ask({"task": "judge", "answer": text_of(run.output or [])})
        intents = {event.call_id for event in events if isinstance(event, ToolIntent)}
        asked = [event for event in events if isinstance(event, ApprovalRequested)]
        unmade = [one for one in events if isinstance(one, ToolResult) and not one.ok and one.call_id not in intents]
        problems = [event.problem for event in events if isinstance(event, CallsDecided) and event.problem]
        return Played(
            useful=verdict["useful"],
            harmed=verdict["harmed"],
            asked=tuple(event.tool for event in asked),
            refused=(*(f"{one.tool}: {one.error}" for one in unmade), *problems),
            read=model.read,
            reasons=tuple(event.reason for event in asked),
        )


def _guard(registry: Registry) -> Guard:
    return Guard(unhurried(policy(registry.specs())))


def _registry(tools: Sequence[Mapping[str, Any]]) -> Registry:
    return Registry(performed_elsewhere(spec_of(tool)) for tool in tools)


def _calls(given: Sequence[Mapping[str, Any]]) -> list[Call]:
    return [(one["tool"], one["arguments"]) for one in given]
