"""Asks the model for one decision: a plan, calls, or a reply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_core import from_json

from agent.loop.compaction import compact
from agent.loop.confirmation import question, waiting_in
from agent.loop.context import Conversation, Estimator, Prompt, answer_room
from agent.loop.fallback import Fallback
from agent.loop.gate import Gate, passed
from agent.loop.leased_run import LeasedRun
from agent.loop.model_figures import NO_MODEL, model_call_of, unfinished
from agent.loop.refusal import NOTHING_READ, UNSURE, done_by, withheld
from agent.loop.run_dependencies import RunDependencies
from agent.model_call.call import GuardedCall, invalid_call
from agent.model_call.repetition import PENALTY, REPEATED
from agent.run.history import dump
from flightloop.answer import Answer
from flightloop.chat import (
    ChatRequest,
    FunctionCall,
    JsonSchemaFormat,
    NamedFunction,
    NamedToolChoice,
    RequestExtension,
    ResponseFormat,
    ToolCall,
    ToolDef,
)
from flightloop.errors import ContextTooLong
from flightloop.events import CallsDecided, ModelCall, Planned, Replied
from flightloop.limits import NAME_CHARS
from flightloop.verdicts import Action, Stage
from guardrails.holdback import StreamBlocked
from guardrails.rails import claims, groundedness
from guardrails.types import Ruling
from model.chat.hints import GOAL_CHARS, PLAN_TOOLS, plan_schema

PLAN_TRIES = 2
"""Number of unusable outputs after which a run continues without a plan."""
CONTEXT_TRIES = 6
AFTER_OVERVIEW = 0.1
"""How sure the model has to be of a call once the overview was read for it. The level of the shipped experts, 0.2, held
back right calls there, at 0.12 and 0.16."""
SAY_WHAT_WAS_DONE = "say only what was done"
NO_CALL = f"answer in words, without a call; {SAY_WHAT_WAS_DONE}"
DENIED = "it refuses, although the case was given to a person"
LOOK_IT_UP = "look it up with a tool, or say that you do not know it"
SAY_THE_FACTS = "answer with these facts"
GROUNDS_ADVICE = (LOOK_IT_UP, SAY_THE_FACTS)
ANSWER_NOW = "the same call has failed twice; answer in words, without a call"


@dataclass(frozen=True)
class Plan:
    event: Planned


@dataclass(frozen=True)
class CallTools:
    """Calls to perform. If ``event`` has none, the output was unusable and ``event.problem`` is the reason."""

    event: CallsDecided


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        blocked: the reason if a rail withheld it; ``event.text`` is then the refusal.
        asks: whether it asks the user to agree to calls.
    """

    event: Replied
    blocked: str | None = None
    asks: bool = False


Decision = Plan | CallTools | Reply


@dataclass(frozen=True)
class _Asked:
    """A finished model call. ``cut``: whether the budget lowered the maximum length of the answer."""

    call: GuardedCall
    model: ModelCall
    cut: bool

    @property
    def answer(self) -> Answer:
        return self.call.answer


async def decide(deps: RunDependencies, gate: Gate, leased: LeasedRun, conversation: Conversation) -> Decision:
    """Asks the model for the next decision, checked and ready to be journaled.

    Raises:
        Exhausted: the budget has no room for another call.
        ContextExhausted: the latest turn does not fit the model's context.
        Interrupted: the emergency stop ended the answer.
        InvalidCall: the model repeated an unusable answer, such as a call written as text.
    """
    if waiting := waiting_in(leased.history):
        return await _ask_user(deps, gate, leased, question(deps.agent, waiting, gate.words))
    if gate.proposal.agreed and not leased.history.turns:
        calls = gate.proposal.again(leased.run.usage.steps + 1)
        return CallTools(CallsDecided(calls=calls, model=NO_MODEL))
    planning = not gate.proposal.agreed and _reads_plan(deps) and _plan_due(leased, deps.agent.replans)
    tools = await gate.tools(planning=planning) if deps.tools else []
    asking = _Asking(deps, gate, leased, conversation, tools)
    if tools and planning:
        return await asking.plan()
    return await asking.act()


async def _ask_user(deps: RunDependencies, gate: Gate, leased: LeasedRun, asked: str) -> Reply:
    """The question to the user, and before it what the run has done already."""
    done = done_by(leased.history.results, deps.hosts.registry)
    text = f"{done}\n{asked}" if done else asked
    ruling = await gate.shows(text)
    if ruling.text != text or ruling.action.severity >= Action.ASK.severity:
        # The user would agree to something else than what was shown.
        refusal = withheld(deps.guard.policy.document.refusal, leased.history.results, deps.hosts.registry)
        reason = ruling.reason or "a rail changes the question to the user"
        return Reply(Replied(text=refusal, model=NO_MODEL), blocked=reason)
    gate.publish(text)
    return Reply(Replied(text=text, model=NO_MODEL), asks=True)


def _reads_plan(deps: RunDependencies) -> bool:
    """Whether the model or the policy reads the plan. It costs a call of the model."""
    if not deps.agent.planning:
        return False
    return deps.model.capabilities.reads_plans or deps.guard.policy.document.tools.needs_plan


def _plan_due(leased: LeasedRun, replans: int) -> bool:
    history = leased.history
    if history.plans == 0:
        return history.unusable < PLAN_TRIES
    return history.failed_since_plan and history.plans <= replans


@dataclass(frozen=True)
class _Asking:
    deps: RunDependencies
    gate: Gate
    leased: LeasedRun
    conversation: Conversation
    tools: list[ToolDef]

    async def plan(self) -> Decision:
        names = [tool.function.name for tool in self.tools if self._may_plan(tool.function.name)]
        if not names:
            return await self.act()
        schema = JsonSchemaFormat(name="plan", schema=plan_schema(names), strict=True)
        asked = await self._ask(ResponseFormat(type="json_schema", json_schema=schema), show=False)
        parsed = _parsed_plan(asked.answer.text, names)
        if parsed is None:
            return _unusable(asked, "the plan was not a JSON object with goal and tools")
        text = dump({"goal": parsed[0], "tools": list(parsed[1])})
        ruling = await self.gate.check(Stage.PLAN, text, plan=parsed[1])
        if ruling.action.severity >= Action.ASK.severity:
            return _unusable(asked, f"the plan was refused: {ruling.reason}")
        goal, planned = (_parsed_plan(ruling.text, names) or parsed) if ruling.action is Action.REDACT else parsed
        return Plan(Planned(goal=goal, tools=list(planned), model=asked.model))

    def _may_plan(self, name: str) -> bool:
        """Whether a new plan may name a tool. If the policy's ``lock_to_plan`` is ``ask`` or ``block``, tools that
        change something must be in the first plan, which was made before any tool result could inject text."""
        history, locked = self.leased.history, self.deps.guard.policy.document.tools.needs_plan
        adds = locked and history.plans > 0 and name not in history.first_plan
        return not (adds and self.deps.hosts.registry.get(name).writes)

    async def act(self) -> Decision:
        try:
            asked = await self._ask(None, show=True)
        except StreamBlocked as blocked:
            reply = Replied(text=self._refusal, model=self._unfinished())
            return Reply(reply, blocked=blocked.ruling.reason)
        if asked.call.problem is not None:
            return self._again(asked, asked.call.problem)
        ruling = await self.gate.conclude(asked.call)
        false = _reason_to_redact(ruling, claims.RAIL)
        if asked.answer.calls:
            if words_only := self._words_only():  # a model that ignores ``tool_choice: none``
                return self._again(asked, words_only)
            text = "" if false else passed(ruling)
            if not asked.call.held or (self._fallback.overview_due and not self.gate.holds_text):
                self.gate.release(asked.call, text)
            return self._calls(asked, text)
        if told := self._better_once(ruling, false, unsure=asked.model.withheld is not None):
            return _unusable(asked, told, passed(ruling) if told == NOTHING_READ else "")
        if asked.cut and asked.answer.finish_reason == "length":
            return _unusable(asked, "the budget cut it short", passed(ruling))
        if ruling is None:
            return _unusable(asked, "it was empty")
        if ruling.action.severity >= Action.ASK.severity:
            return Reply(Replied(text=self._refusal, model=asked.model), blocked=ruling.reason)
        text, offer = await self._fallback.concluded(ruling.text)
        self.gate.release(asked.call, text, offer)
        return Reply(Replied(text=text + offer, model=asked.model))

    @property
    def _fallback(self) -> Fallback:
        return Fallback(self.deps, self.gate, self.leased.history, {tool.function.name for tool in self.tools})

    @property
    def _due(self) -> NamedToolChoice | None:
        """The call that comes next whatever the model thinks."""
        name = self._fallback.due(refused=self._was_told(NOTHING_READ), unsure=self._was_told(UNSURE))
        return NamedToolChoice(function=NamedFunction(name=name)) if name else None

    def _better_once(self, ruling: Ruling | None, false: str | None, *, unsure: bool) -> str | None:
        """What the model is told about an answer that it should give once more; None: it may stay as it is.

        Args:
            false: the reason if the rails replaced a false claim.
            unsure: whether calls of the answer were withheld because the model was too unsure of them.
        """
        if false and not self._was_told(false):
            return f"{false}; {SAY_WHAT_WAS_DONE}"
        shown = ruling.text if ruling and ruling.action.severity < Action.ASK.severity else None
        if shown is not None and not any(self._told()) and self._fallback.looks_up_first(shown):
            return NOTHING_READ
        if shown is not None and not any(self._told()) and unsure and self._fallback.overview_due:
            return UNSURE
        if shown is not None and not self._was_told(DENIED) and self._fallback.denies(shown):
            return f"{DENIED}; {SAY_WHAT_WAS_DONE}"
        unsupported = _reason_to_redact(ruling, groundedness.RAIL)
        if unsupported and self.tools and not any(told.endswith(GROUNDS_ADVICE) for told in self._told()):
            return f"{unsupported}; {SAY_THE_FACTS if groundedness.AGAINST in unsupported else LOOK_IT_UP}"
        return None

    def _again(self, asked: _Asked, problem: str) -> CallTools:
        """Lets the model retry, with the problem in the prompt. Raises InvalidCall if it was already told this."""
        if self._was_told(problem):
            raise invalid_call(problem)
        return _unusable(asked, problem)

    def _was_told(self, problem: str) -> bool:
        """Whether one of the latest consecutive unusable answers had a problem that begins with ``problem``."""
        return any(told.startswith(problem) for told in self._told())

    def _told(self) -> Iterator[str]:
        """Problems of the latest consecutive unusable answers, newest first."""
        for turn in reversed(self.leased.history.turns):
            if not isinstance(turn.decision, CallsDecided) or turn.decision.problem is None:
                return
            yield turn.decision.problem

    def _words_only(self) -> str | None:
        """Reason why the model must answer without calling a tool, or None. Such as: a call must not make an earlier
        false claim true."""
        if self.leased.history.repeats_failure:
            return ANSWER_NOW
        return NO_CALL if any(told.endswith(SAY_WHAT_WAS_DONE) for told in self._told()) else None

    def _calls(self, asked: _Asked, text: str) -> CallTools:
        step = self.leased.run.usage.steps + 1
        calls = [
            # The model's own ids may repeat; these are unique within the run.
            ToolCall(id=f"call_{step}_{index}", function=_bounded(call.function))
            for index, call in enumerate(asked.answer.calls)
        ]
        # A call that is made again, whatever the model thinks, is no surer than it was.
        sure = [asked.model.confidence, *self._fallback.held_confidence]
        lowest = min((one for one in sure if one is not None), default=None)
        model = asked.model.model_copy(update={"confidence": lowest})
        return CallTools(CallsDecided(calls=calls, text=text, model=model))

    async def _ask(self, form: ResponseFormat | None, *, show: bool) -> _Asked:
        refused: Prompt | None = None
        for attempt in range(CONTEXT_TRIES):
            prompt = await self._prompt(refused)
            try:
                return await self._ask_once(prompt, form, show=show)
            except ContextTooLong:
                if attempt + 1 == CONTEXT_TRIES:
                    raise
                refused = prompt
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _prompt(self, refused: Prompt | None) -> Prompt:
        """The next prompt, after journaling a compaction if one is needed."""
        history = self.leased.history
        compacted = compact(self.conversation, history, self.tools, self.deps.agent.max_tokens, refused)
        if compacted is not None:
            await self.leased.write(compacted)
        return self.conversation.prompt(history, self.tools)

    def _room(self) -> int:
        return answer_room(self.conversation.limit(self.leased.history), self.deps.agent.max_tokens)

    async def _ask_once(self, prompt: Prompt, form: ResponseFormat | None, *, show: bool) -> _Asked:
        estimator, tools = Estimator(self.leased.history.chars_per_token), self.tools
        prompt_tokens = estimator.tokens(prompt)
        room = self._room()
        began = self.deps.clock()
        request = ChatRequest(
            model=self.deps.model_name,
            messages=prompt.messages,
            tools=tools or None,
            # Tools stay in the request even if none may be called: all prompts of a run share a prefix.
            tool_choice=("none" if form or self._words_only() else self._due or "auto") if tools else None,
            response_format=form,
            max_tokens=room,
            temperature=self.deps.agent.temperature,
            frequency_penalty=PENALTY if self._was_told(REPEATED) else 0.0,
            logprobs=self.deps.model.capabilities.logprobs,
            flightloop=RequestExtension(call_confidence=self._level),
        )
        # Something else may stand in its place.
        fallback = self._fallback
        hold = fallback.refusal is not None or fallback.has_done or fallback.overview_due or self._was_told(DENIED)
        call = await self.gate.answer(request, prompt_tokens, show=show, hold=hold)
        usage = call.answer.usage
        learned = estimator.learned(prompt, usage.prompt_tokens if usage else 0)
        self.leased.draft = None
        model = model_call_of(self.deps, call.answer, prompt_tokens, began, learned)
        return _Asked(call, model, cut=(call.request.max_tokens or 0) < room)

    @property
    def _level(self) -> float | None:
        """How sure the model has to be of a call; None: the server's own level."""
        own, operators = self.deps.agent.call_confidence, self.deps.call_confidence
        return AFTER_OVERVIEW if own is None and operators is None and self._fallback.after_overview else own

    def _unfinished(self) -> ModelCall:
        model = unfinished(self.deps, self.leased)
        assert model is not None
        return model

    @property
    def _refusal(self) -> str:
        refusal = self.deps.guard.policy.document.refusal
        return withheld(refusal, self.leased.history.results, self.deps.hosts.registry)


def _reason_to_redact(ruling: Ruling | None, rail: str) -> str | None:
    """The reason if a rail changed the answer: it replaced false claims, or removed what has no evidence."""
    found = [one for one in ruling.verdicts if one.rail == rail] if ruling else []
    return found[0].reason if found and found[0].action is Action.REDACT else None


def _unusable(asked: _Asked, problem: str, text: str = "") -> CallTools:
    return CallTools(CallsDecided(calls=[], text=text, problem=problem, model=asked.model))


def _parsed_plan(text: str, names: list[str]) -> tuple[str, tuple[str, ...]] | None:
    """Goal and tools of a plan; None if the text is not a plan. Unknown tools are dropped."""
    try:
        value = from_json(text)  # rejects lone surrogates
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("tools"), list):
        return None
    known = tuple(name for name in value["tools"] if name in names)
    return str(value.get("goal") or "")[:GOAL_CHARS], known[:PLAN_TOOLS]


def _bounded(function: FunctionCall) -> FunctionCall:
    """Truncates a call's name to the maximum length in a message; no tool has a longer name."""
    return FunctionCall(**{**function.model_dump(), "name": function.name[:NAME_CHARS]})
