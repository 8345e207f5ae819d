"""Gate: the loop's only access to the model, to tools and to the user.

The guard checks everything that passes the gate. Verdicts are journaled in the transaction of the event that they
judge; the store derives audit records from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import structlog

from agent.loop.confirmation import Proposal
from agent.loop.context import Conversation
from agent.loop.evidence import Evidence
from agent.loop.leased_run import LeasedRun
from agent.loop.named_rows import Row, rows_of
from agent.loop.run_dependencies import RunDependencies
from agent.loop.session_register import SessionRegister
from agent.model_call.call import GuardedCall, GuardedModel
from agent.run.budgets import reserve
from agent.run.history import CallState
from agent.run.state import tags_of
from flightloop.chat import ChatRequest, ToolDef
from flightloop.events import ApprovalRequested, DeltaEvent
from flightloop.provenance import Source
from flightloop.tool import EVERY_FIELD, ToolContext, ToolSpec
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.evidence.confirmed import strangers_text
from guardrails.holdback import StreamBlocked
from guardrails.rails.provenance import sources_of
from guardrails.types import Checked, CheckedCall, GuardContext, Ruling, Trail, Utterance, Write
from observability import semconv
from observability.tracing import traceparent
from tools.host import ToolOutcome

log = structlog.get_logger(__name__)
MOST_WORDS = 500
"""Characters of the user's message that a search may use."""


def passed(ruling: Ruling | None) -> str:
    """The text that a ruling allows. ``ask`` withholds a text like ``block``: a person can't approve texts."""
    return "" if ruling is None or ruling.action.severity >= Action.ASK.severity else ruling.text


class Gate:
    def __init__(self, deps: RunDependencies, leased: LeasedRun, conversation: Conversation) -> None:
        self._deps = deps
        self._leased = leased
        self._conversation = conversation
        self._guarded = GuardedModel(deps.model, deps.guard, deps.tracing)
        self._register = SessionRegister(deps, leased, conversation)
        self._evidence = Evidence(deps, leased, conversation, self._tool_context(f"{leased.run.id}:facts"))

    @property
    def policy_sha256(self) -> str:
        return self._deps.guard.policy.sha256

    @property
    def user_text(self) -> str:
        return self._evidence.user_text

    @property
    def words(self) -> str:
        """The user's latest message; for a sub-run, what the user wrote in its root run."""
        return self._evidence.words

    @property
    def messages(self) -> tuple[str, ...]:
        """The user's messages in the session, newest first; for a sub-run, the lines that the user wrote in its root
        run and before."""
        if (parent := self._leased.run.parent) is not None:
            return tuple(reversed(parent.user_text.splitlines()))
        return (self.words, *self._conversation.messages[1:])

    @property
    def lists(self) -> list[list[Row]]:
        """What the agent's tools have listed in the session, but for what strangers may have written."""
        trusted = (one for one in self._trail.reads if one.ok and tuple(one.trusted) == EVERY_FIELD)
        return [rows for one in trusted if (rows := rows_of(one.content))]

    @property
    def _trail(self) -> Trail:
        return self._evidence.context().trail or Trail()

    @property
    def latest(self) -> Utterance | None:
        """The user's latest message and the answer before it; None if it is unknown when it was written."""
        said = self._evidence.context().said
        return said[-1] if said else None

    @property
    def harmless(self) -> tuple[str, ...]:
        """Tools whose writes need no protection."""
        return self._deps.guard.policy.document.tools.harmless

    @property
    def proposal(self) -> Proposal:
        """What the session's last run asked the user to agree to."""
        return self._conversation.proposal

    @property
    def tainted(self) -> bool:
        return self._evidence.tainted

    @property
    def locked_plan(self) -> tuple[str, ...] | None:
        """Tools that are in the plans of the run and all its callers; None unless the policy's ``lock_to_plan`` is
        ``ask`` or ``block``."""
        if not self._deps.guard.policy.document.tools.needs_plan:
            return None
        context = self._evidence.context()
        return tuple(name for name in context.plan if context.plans(name))

    async def tools(self, *, planning: bool = False) -> list[ToolDef]:
        """The agent's tools that the policy currently shows to the model. ``planning`` ignores the current plan:
        a new one may name other tools."""
        toolbox, names = self._deps.hosts.registry, self._deps.tools
        writes = frozenset(name for name in names if toolbox.get(name).writes)
        return await self._deps.guard.narrow(
            toolbox.definitions(names), self._evidence.context(plan=names if planning else None), writes
        )

    async def check(
        self,
        stage: Stage,
        text: str,
        call: CheckedCall | None = None,
        approval: ApprovalRequested | None = None,
        plan: tuple[str, ...] | None = None,
        under_way: Sequence[Write] = (),
        stopped: bool = False,
    ) -> Ruling:
        """The guard's ruling; its verdicts are journaled with the next write.

        Args:
            approval: a person's approval of this call.
            plan: tools of the plan to check, instead of the current plan.
            under_way: calls of the same decision that have no result yet.
            stopped: see ``Checked.stopped``.
        """
        context = self._evidence.context(approval, plan, under_way)
        if stage is Stage.TOOL_CALL:
            context = await self._with_register(context)
        ruling = await self._guarded.judge(Checked(stage, text, context, call, stopped))
        await self.judged(ruling.verdicts, call.call_id if call else None)
        return ruling

    async def shows(self, text: str) -> Ruling:
        """The ruling on a text in the platform's own words, by the rails of streams: what it says needs no evidence."""
        stream = self._deps.guard.stream(await self._with_register(self._evidence.context()))
        try:
            released = stream.push(text) + stream.finish()
            ruling = replace(stream.ruling(), text=released)
        except StreamBlocked as blocked:
            ruling = blocked.ruling
        await self.judged(ruling.verdicts)
        return ruling

    async def sources(self, call: CheckedCall) -> list[Source]:
        """Where the values of a call come from."""
        return await sources_of(self._evidence.context(), call)

    async def answer(self, request: ChatRequest, prompt_tokens: int, *, show: bool, hold: bool = False) -> GuardedCall:
        """Makes one model call; finish it with ``conclude``. With ``show``, text passes the stream's rails and is
        published while it is decoded, unless it is to ``hold`` or the policy sets ``streaming: held``.

        Raises:
            Exhausted: the budgets leave no room for an answer.
            StreamBlocked: a rail blocked the text; ``leased.draft`` has the text decoded so far.
            Interrupted: an interrupt ended the call.
            FlightloopError: the model's own errors.
        """
        run = self._leased.run
        tags = tags_of(run)
        extension = request.flightloop.model_copy(update={"tags": tags, "epoch": self._deps.epoch})
        asked = request.model_copy(update={"flightloop": extension})
        context = await self._with_register(self._evidence.context())
        call = GuardedCall(self._guarded, self, context, asked, prompt_tokens, held=hold or self.holds_text)
        async with aclosing(call.text(shown=show)) as pieces:
            async for piece in pieces:
                self.publish(piece)
        return call

    async def conclude(self, call: GuardedCall) -> Ruling | None:
        """The ruling on the answer's text; None if there is no text."""
        _, ruling = await call.conclude()
        return ruling

    def release(self, call: GuardedCall, text: str, added: str = "") -> None:
        """Publishes an answer's text, unless it was already published while it was decoded, and what is ``added``."""
        if not call.live:
            self.publish(text)
        if added:
            self.publish(added)

    # Methods of `agent.model_call.Owner`

    async def reserve(self, call: GuardedCall) -> ChatRequest:
        longest, prices = call.request.token_limit, self._deps.prices
        assert longest is not None
        own = reserve(self._leased.state, self._deps.clock(), call.prompt_tokens, longest, prices)
        granted = await self._leased.reserve(own, prices, self._deps.tenants)
        self._leased.draft = call
        return call.request.model_copy(update={"max_tokens": granted.completion_tokens})

    async def settle(self, call: GuardedCall) -> None:
        """Does nothing: a run's usage is settled by the event that journals the answer."""

    async def judged(self, verdicts: Sequence[Verdict], call_id: str | None = None) -> None:
        """Journals verdicts with the next write, in the transaction of the event that they judge."""
        self._leased.defer_verdicts(verdicts, call_id)

    async def call(self, state: CallState, spec: ToolSpec, arguments: dict[str, Any]) -> ToolOutcome:
        """Performs a call whose intent is journaled."""
        with self._deps.tracing.tool(spec.name, state.call.id) as span:
            self._deps.tracing.content(span, tool_arguments=lambda: json.dumps(arguments, ensure_ascii=False))
            outcome = await self._deps.hosts.call(spec.name, arguments, self._tool_context(state.key, spec.name))
            if outcome.traceback is not None:
                checked_call = CheckedCall(state.call.id, spec, arguments)
                # It is stored and shown to people, so rails check it. It can't taint the run: no model reads it.
                traceback = passed(await self.check(Stage.TOOL_RESULT, outcome.traceback, checked_call)) or None
                outcome = replace(outcome, traceback=traceback)
                log.warning("a tool raised", tool=spec.name, tries=outcome.tries, exception=traceback)
            if outcome.tries > 1:
                span.set_attribute(semconv.TOOL_TRIES, outcome.tries)
            if not outcome.ok:
                self._deps.tracing.failed(span, "timeout" if outcome.timed_out else "tool_error", outcome.traceback)
            return outcome

    async def known_by(self, state: CallState, spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """A write's arguments as normalised by the tool's own types; None if unknown. Does not perform the call.

        Raises TimeoutError if the tool's types take too long, and Unsure (``tools.host``).
        """
        if not (spec.writes and spec.agent is None and (arguments or spec.parameters.get("properties"))):
            return None
        return await self._deps.hosts.known_by(spec.name, arguments, self._tool_context(state.key))

    async def _with_register(self, context: GuardContext) -> GuardContext:
        register = await self._register.read()
        return context if register is None else replace(context, register=register)

    def _tool_context(self, key: str, tool: str = "") -> ToolContext:
        run = self._leased.run
        looks_up = tool in self._deps.lookup.tools
        return ToolContext(
            key=key,
            tenant_id=run.tenant_id,
            agent=run.agent,
            session_id=run.session_id,
            run_id=run.id,
            data=self._deps.data,
            egress=self._deps.guard.policy.document.egress.hosts,
            traceparent=traceparent(),
            subject=run.subject,
            words=self.words[:MOST_WORDS] if looks_up else "",
        )

    @property
    def holds_text(self) -> bool:
        """Whether a decision's text is shown only if no call comes with it: the user's yes to the call is asked for in
        the platform's words alone."""
        confirms = self._deps.guard.policy.document.tools.lock_to_plan == "confirm"
        return confirms and strangers_text(self._evidence.context()) is not None

    def publish(self, text: str) -> None:
        """Shows a checked text to those who follow the run."""
        if text:
            run = self._leased.run
            now, step = self._deps.clock(), run.usage.steps
            delta = DeltaEvent(run_id=run.id, text=text, at=now, step=step, after=run.last_seq)
            self._deps.deltas.publish(delta)
