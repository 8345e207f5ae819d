"""The gate: the loop's only way to the model, to the tools and to the user.

What passes is checked by the guard, and every verdict becomes a ``Judged`` event in the transaction
of what it was about (the store turns that into an audit record).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from agent.book import Book, Draft
from agent.budgets import Prices, TenantBudgets
from agent.chat_model import ChatModel
from agent.context import Conversation
from agent.deltas import Deltas
from agent.facts import NO_LOOKUP, Lookup
from agent.history import CallState, Turn, result_text
from agent.spec import AgentSpec
from agent.subagent import Subagent
from flightloop.answer import Answer
from flightloop.chat import ChatRequest, RequestExtension, ResponseExtension, Tags, ToolDef, Usage
from flightloop.errors import Interrupted
from flightloop.events import DeltaEvent, Judged
from flightloop.tool import Tool, ToolContext, ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.aside import aside
from guardrails.holdback import StreamBlocked
from guardrails.types import CallSubject, GuardContext, Guarding, GuardStream, Ruling, Subject
from observability import semconv
from observability.tracing import Tracing, add_evaluation, add_usage, add_verdict, traceparent
from tools.host import ToolOutcome


class Toolbox(Protocol):
    """What ``tools.registry.Registry`` offers the loop."""

    def __contains__(self, name: str) -> bool: ...
    def get(self, name: str) -> ToolSpec: ...
    def definitions(self, names: Sequence[str]) -> list[ToolDef]: ...
    def problems(self, name: str, arguments: dict[str, Any]) -> list[str]: ...
    def beside(self, others: Iterable[Tool]) -> Toolbox: ...


class Hosts(Protocol):
    """What ``tools.host.ToolHosts`` offers the loop."""

    @property
    def registry(self) -> Toolbox: ...

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome: ...
    async def kill(self, run_id: str) -> int: ...


@dataclass(frozen=True)
class Means:
    """What a run works with. ``data`` is the folder of the tools' data, ``epoch`` the interrupt
    epoch at admission."""

    agent: AgentSpec
    guard: Guarding
    model: ChatModel
    model_name: str
    hosts: Hosts
    deltas: Deltas
    prices: Prices
    data: Path
    clock: Callable[[], datetime]
    tracing: Tracing
    lookup: Lookup = NO_LOOKUP
    epoch: int = 0
    tenants: TenantBudgets = field(default_factory=TenantBudgets)
    subagents: Mapping[str, Subagent] = field(default_factory=dict)
    """By their names: agents that this one can give tasks to."""

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of all that the agent can call."""
        return (*self.agent.tools, *(agent.tool for agent in self.subagents.values()))


def passed(ruling: Ruling | None) -> str:
    """What a ruling leaves of a text. Nobody is asked about texts: such a one is withheld."""
    return "" if ruling is None or ruling.action.severity >= Action.ASK.severity else ruling.text


class Gate:
    def __init__(self, means: Means, book: Book, conversation: Conversation) -> None:
        self._means = means
        self._book = book
        self._conversation = conversation
        self._results: list[str] = []
        self._trusted: list[str] = []
        self._written: list[str] = []
        self._written_by: dict[str, int] = {}  # the model's decision about this call
        self._written_before: list[int] = []
        self._turns = 0
        self._memo: dict[object, object] = {}
        self._looked_up: list[str] = []

    @property
    def policy_sha256(self) -> str:
        return self._means.guard.policy.sha256

    @property
    def user_text(self) -> str:
        """What a user said, to this run or to the one that it works for in the end."""
        parent = self._book.run.parent
        return self._conversation.user_text if parent is None else parent.user_text

    def context(self, approved: frozenset[str] = frozenset(), plan: tuple[str, ...] | None = None) -> GuardContext:
        run, history, toolbox = self._book.run, self._book.history, self._means.hosts.registry
        self._read_calls(history.turns)
        for result in history.results[len(self._results) :]:
            self._results.append(result_text(result))
            # An error repeats what the model or a person wrote.
            if result.ok and result.tool in toolbox and not toolbox.get(result.tool).returns_untrusted:
                self._trusted.append(self._results[-1])
                self._written_before.append(self._written_by.get(result.call_id, len(self._written)))
            if result.tool in self._means.lookup.tools:
                self._looked_up.append(self._results[-1])
        return GuardContext(
            tenant_id=run.tenant_id,
            agent=run.agent,
            session_id=run.session_id,
            run_id=run.id,
            user_text=self.user_text,
            plan=history.plan if plan is None else plan,
            tainted=history.tainted,
            results=tuple(self._results),
            trusted_results=tuple(self._trusted),
            written=tuple(self._written),
            written_before=tuple(self._written_before),
            approved_args=approved,
            facts=self._means.lookup.facts(self._means.hosts, self._tool_context(f"{run.id}:facts")),
            looked_up=tuple(self._looked_up),
            memo=self._memo,
        )

    def _read_calls(self, turns: Sequence[Turn]) -> None:
        for turn in turns[self._turns :]:
            self._written += [f"{each.call.function.name} {each.call.function.arguments}" for each in turn.calls]
            self._written_by |= {each.call.id: len(self._written) for each in turn.calls}
        self._turns = len(turns)

    def tools(self, *, planning: bool = False) -> list[ToolDef]:
        """The agent's tools as the policy lets the model see them now; with ``planning`` those that a new plan
        may name: the current one binds calls only."""
        toolbox, names = self._means.hosts.registry, self._means.tools
        writes = frozenset(name for name in names if toolbox.get(name).writes)
        return self._means.guard.narrow(
            toolbox.definitions(names), self.context(plan=names if planning else None), writes
        )

    async def check(
        self,
        stage: Stage,
        text: str,
        call: CallSubject | None = None,
        approved: frozenset[str] = frozenset(),
        plan: tuple[str, ...] | None = None,
    ) -> Ruling:
        """The guard's ruling; its verdicts are journaled with the next write.

        ``approved``: the hash of this very call, if a person approved it. ``plan``: the tools of the plan
        that is checked; otherwise the current one counts.
        """
        with self._means.tracing.guard(stage.value, self._means.guard.policy.version) as span:
            ruling = await self._means.guard.check(Subject(stage, text, self.context(approved, plan), call))
            for verdict in ruling.verdicts:
                add_verdict(span, verdict)
        self._judged(ruling.verdicts, call.call_id if call else None)
        return ruling

    async def final(self, text: str) -> Ruling | None:
        """The ruling on what an answer says; None: it says nothing. Where the policy holds answers, it goes out now."""
        if not text.strip():
            return None
        ruling = await self.check(Stage.FINAL, text)
        if self._holds:
            self._publish(passed(ruling))
        return ruling

    async def answer(self, request: ChatRequest, prompt_tokens: int, *, show: bool) -> Answer:
        """One model call; with ``show`` its text passes the stream's rails, and goes out while it is decoded unless the
        policy holds answers.

        Raises:
            StreamBlocked: a rail blocks the text; ``book.draft`` tells how far it came.
            Interrupted: an interrupt ended it.
            FlightloopError: the model's own errors.
        """
        run = self._book.run
        tags = Tags(tenant_id=run.tenant_id, agent=run.agent, session_id=run.session_id, run_id=run.id)
        with self._means.tracing.chat(request.model) as span:
            extension = RequestExtension(tags=tags, epoch=self._means.epoch, traceparent=traceparent())
            self._book.draft = Draft(request.model, prompt_tokens)
            stream = self._means.guard.stream(self.context()) if show else None
            answer = await self._stream(request.model_copy(update={"flightloop": extension, "stream": True}), stream)
            used, told = answer.usage or Usage(), answer.extension or ResponseExtension()
            add_usage(span, request.model, used.prompt_tokens, used.completion_tokens, answer.finish_reason)
            if told.confidence is not None:
                add_evaluation(span, "confidence", told.confidence)
        if told.interrupted:
            raise Interrupted("the emergency stop ended the answer")
        return answer

    async def call(self, state: CallState, spec: ToolSpec, arguments: dict[str, Any]) -> ToolOutcome:
        """Performs a call whose intent is journaled."""
        with self._means.tracing.tool(spec.name, state.call.id) as span:
            outcome = await self._means.hosts.call(spec.name, arguments, self._tool_context(state.key))
            if not outcome.ok:
                span.set_attribute(semconv.ERROR_TYPE, "timeout" if outcome.timed_out else "tool_error")
            return outcome

    def _tool_context(self, key: str) -> ToolContext:
        run = self._book.run
        return ToolContext(
            key=key,
            tenant_id=run.tenant_id,
            agent=run.agent,
            session_id=run.session_id,
            run_id=run.id,
            data=self._means.data,
            egress=self._means.guard.policy.document.egress.hosts,
            traceparent=traceparent(),
        )

    async def _stream(self, request: ChatRequest, stream: GuardStream | None) -> Answer:
        answer, draft, searched = Answer(), self._book.draft, self.context().characters if stream is not None else 0
        assert draft is not None
        try:
            async with aclosing(self._means.model.stream(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    piece = answer.add(chunk)
                    draft.completion_tokens = answer.tokens
                    if stream is not None and piece:
                        self._take(draft, await aside(searched, stream.push, piece))
            if stream is not None:
                self._take(draft, await aside(searched + len(draft.text), stream.finish))
                self._judged(stream.ruling().verdicts)
            return answer
        except StreamBlocked as blocked:
            self._judged(blocked.ruling.verdicts)
            raise

    def _take(self, draft: Draft, text: str) -> None:
        draft.text += text
        if not self._holds:
            self._publish(text)

    @property
    def _holds(self) -> bool:
        return self._means.guard.policy.document.streaming == "held"

    def _publish(self, text: str) -> None:
        if text:
            run = self._book.run
            now, step = self._means.clock(), run.usage.steps
            delta = DeltaEvent(run_id=run.id, text=text, at=now, step=step, after=run.last_seq)
            self._means.deltas.publish(delta)

    def _judged(self, verdicts: Sequence[Verdict], call_id: str | None = None) -> None:
        self._book.defer([Judged(verdict=verdict, call_id=call_id) for verdict in verdicts])
