"""Asks an agent's procedure for one decision. The procedure asks the model for texts only; it chooses the calls."""

from __future__ import annotations

from agent.loop.context import Conversation, Estimator, Prompt, answer_room
from agent.loop.decide import CallTools, Decision, Plan, Reply
from agent.loop.gate import Gate, passed
from agent.loop.leased_run import LeasedRun
from agent.loop.model_figures import NO_MODEL, model_call_of
from agent.loop.refusal import withheld
from agent.loop.run_dependencies import RunDependencies
from agent.procedures.code import CodeProcedure
from agent.procedures.procedure import Ask, Check, Finish, Outline, Procedure, Progress, Step, ToolUse, Unusable
from agent.run.budgets import Exhausted, seconds_left
from agent.run.history import dump
from flightloop.chat import ChatMessage, ChatRequest, FunctionCall, RequestExtension, ToolCall
from flightloop.content import TextPart
from flightloop.errors import InternalError
from flightloop.events import CallsDecided, ModelCall, Planned, Replied
from flightloop.verdicts import Action, Stage

PROCEDURES: dict[str, Procedure] = {"code": CodeProcedure()}
KEPT_TIME = 0.1
"""Share of the budget's seconds in which nothing more is begun, so that a run ends with what it has."""


async def follow(deps: RunDependencies, gate: Gate, leased: LeasedRun, conversation: Conversation) -> Decision:
    """The next decision of the agent's procedure, checked and ready to be journaled.

    When the budget leaves no room for another model call, the procedure ends with what it has.

    Raises:
        Exhausted: the budget's time is over.
        Interrupted: the emergency stop ended the answer.
    """
    return await _Following(deps, gate, leased, conversation).decision()


class _Following:
    def __init__(self, deps: RunDependencies, gate: Gate, leased: LeasedRun, conversation: Conversation) -> None:
        self._deps, self._gate, self._leased, self._conversation = deps, gate, leased, conversation

    async def decision(self) -> Decision:
        run = self._leased.run
        left = (run.budget.steps or self._deps.agent.budget.steps) - run.usage.steps
        step = self._next(min(left, 1) if self._is_late() else left)
        try:
            return await self._perform(step)
        except Exhausted:
            last = self._next(1)
            if not isinstance(last, Finish):
                raise
            return await self._perform(last)

    def _next(self, steps_left: int) -> Step:
        procedure = PROCEDURES[self._deps.agent.procedure or ""]
        return procedure.next(Progress(self._conversation.input_text, self._leased.history.turns, steps_left))

    def _is_late(self) -> bool:
        seconds, left = self._leased.run.budget.seconds, seconds_left(self._leased.state, self._deps.clock())
        return seconds is not None and left is not None and left < KEPT_TIME * seconds

    async def _perform(self, step: Step) -> Decision:
        match step:
            case Outline(goal, tools):
                return await self._plan(goal, tools)
            case Ask():
                return await self._ask(step)
            case Check(label, calls):
                return self._calls(calls, label, NO_MODEL)
            case Finish(text):
                return await self._reply(text)

    async def _plan(self, goal: str, tools: tuple[str, ...]) -> Decision:
        ruling = await self._gate.check(Stage.PLAN, dump({"goal": goal, "tools": list(tools)}), plan=tools)
        if ruling.action.severity >= Action.ASK.severity:
            raise InternalError(f"the policy refuses the procedure's plan: {ruling.reason}")
        return Plan(Planned(goal=goal, tools=list(tools), model=NO_MODEL))

    async def _ask(self, step: Ask) -> Decision:
        prompt = Prompt.of(
            [_message("system", self._conversation.instructions), *(_message(*one) for one in step.messages)]
        )
        history = self._leased.history
        estimator = Estimator(history.chars_per_token)
        tokens, began = estimator.tokens(prompt), self._deps.clock()
        request = ChatRequest(
            model=self._deps.model_name,
            messages=prompt.messages,
            max_tokens=answer_room(self._conversation.limit(history), step.max_tokens or self._deps.agent.max_tokens),
            temperature=step.temperature,
            seed=step.seed,
            logprobs=self._deps.model.capabilities.logprobs,
            flightloop=RequestExtension(opening=step.opening, never=list(step.never)),
        )
        call = await self._gate.answer(request, tokens, show=False)
        self._leased.draft = None
        usage = call.answer.usage
        learned = estimator.learned(prompt, usage.prompt_tokens if usage else 0)
        model = model_call_of(self._deps, call.answer, tokens, began, learned)
        try:
            return self._calls(step.read(call.answer.text), step.label, model)
        except Unusable as unusable:
            return CallTools(CallsDecided(calls=[], text=step.label, problem=str(unusable), model=model))

    def _calls(self, uses: list[ToolUse], label: str, model: ModelCall) -> Decision:
        step = self._leased.run.usage.steps + 1
        calls = [
            ToolCall(id=f"call_{step}_{index}", function=FunctionCall(name=use.tool, arguments=dump(use.arguments)))
            for index, use in enumerate(uses)
        ]
        return CallTools(CallsDecided(calls=calls, text=label, model=model))

    async def _reply(self, text: str) -> Decision:
        ruling = await self._gate.check(Stage.FINAL, text)
        if ruling.action.severity >= Action.ASK.severity:
            refusal, results = self._deps.guard.policy.document.refusal, self._leased.history.results
            told = withheld(refusal, results, self._deps.hosts.registry)
            return Reply(Replied(text=told, model=NO_MODEL), blocked=ruling.reason)
        return Reply(Replied(text=passed(ruling), model=NO_MODEL))


def _message(role: str, text: str) -> ChatMessage:
    return ChatMessage.model_validate({"role": role, "content": [TextPart(text=text)]})
