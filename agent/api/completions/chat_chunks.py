"""Converts a guarded model call to OpenAI's chunks.

A tool call is buffered until its arguments are complete and checked. The caller executes tool calls, so the response
also contains ``ask`` verdicts (``flightloop.asks``). In a tainted conversation ``ask`` is a refusal, because a program
that executes every call would execute an injected one. Text is released according to the policy's ``streaming``:
``held`` when the model call has concluded, ``live`` as soon as no rail can block the text any more.

A call that the policy limits over time counts when it is released, for good: nobody tells its outcome.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from agent.api.completions.admission import Admitted
from agent.api.completions.call_arguments import problem_of
from agent.api.completions.owner import CompletionOwner
from agent.api.deps import ApiDeps
from agent.api.interrupted import unless_stopped
from agent.loop.context import Estimator, Prompt
from agent.model_call.call import GuardedCall, GuardedModel, invalid_call
from agent.model_call.repetition import PENALTY
from agent.models.retrying import COMPLETIONS, RetryingChatModel
from flightloop.chat import (
    Ask,
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FunctionDelta,
    ResponseExtension,
    ToolCall,
    ToolCallDelta,
)
from flightloop.content import TextPart
from flightloop.verdicts import Action, Stage
from guardrails.holdback import StreamBlocked
from guardrails.rails.calls import BY_EFFECT
from guardrails.rails.claims import CORRECTION
from guardrails.types import Checked, CheckedCall, Ruling

TRIES = 2
"""Attempts at a usable answer: after a failed one, the model is asked again."""


async def chunks(deps: ApiDeps, admitted: Admitted, owner: CompletionOwner) -> AsyncGenerator[ChatChunk, None]:
    """Yields one answer as OpenAI chunks: role, text, whole calls, ``finish_reason``, usage.

    If a rail refuses the answer, ``finish_reason`` is ``content_filter``, and if no text was sent yet, the policy's
    refusal is the text.

    Args:
        owner: owner of the first attempt's model call; a second attempt gets a new one.

    Raises:
        BudgetExhausted: the tenant's budget leaves no room for an answer.
        Interrupted: a matching interrupt was raised meanwhile.
        InvalidCall: no attempt gave a usable answer, for example because the model writes its calls as text.
        FlightloopError: errors of the model.
    """
    guarded = GuardedModel(RetryingChatModel(deps.model, COMPLETIONS), admitted.guard, deps.tracing, deps.interrupts)
    request, builder = admitted.request, _ChunkBuilder(deps, admitted)
    for left in reversed(range(TRIES)):
        prompt_tokens = Estimator().tokens(Prompt.asked(request.messages, request.tools or []))
        call = GuardedCall(guarded, owner, admitted.context, request, prompt_tokens, builder.shown)
        builder.call = call
        try:
            async with aclosing(call.text()) as pieces:
                async for piece in pieces:
                    if chunk := builder.piece(piece):
                        yield chunk
        except StreamBlocked:
            for chunk in builder.refused():
                yield chunk
            return
        if call.problem is None:
            schemas = {name: spec.parameters for name, spec in admitted.specs.items()}
            calls, tools = call.answer.calls, request.tools or []
            call.problem = await problem_of(calls, tools, schemas, admitted.tags.tenant_id, last=not left)
        # Shown text can't be taken back. After the last attempt, the text before the repetitions is better than
        # nothing.
        cut = call.repeated and (builder.shown or (call.released and not left))
        if call.problem is None or cut:
            for chunk in await builder.concluded():
                yield chunk
            return
        request, owner = _asked_again(request, call), CompletionOwner(deps, admitted.tags)
    assert call.problem is not None
    raise invalid_call(call.problem)


def _asked_again(request: ChatRequest, call: GuardedCall) -> ChatRequest:
    kept = "" if call.repeated else call.released
    if not (request.tools or kept or call.repeated or request.temperature == 0):
        return request.model_copy(update={"seed": None})  # nothing to explain: sample again
    said = [ChatMessage(role="assistant", content=[TextPart(text=kept)])] if kept else []
    correction = [TextPart(text=f"{CORRECTION} {call.problem}. Try again.")]
    changes: dict[str, Any] = {"messages": [*request.messages, *said, ChatMessage(role="user", content=correction)]}
    if call.repeated:
        changes["frequency_penalty"] = max(request.frequency_penalty, PENALTY)
    return request.model_copy(update=changes)


class _ChunkBuilder:
    """Builds the chunks of an answer. ``shown`` is the text sent so far."""

    def __init__(self, deps: ApiDeps, admitted: Admitted) -> None:
        self.call: GuardedCall
        self._deps = deps
        self._admitted = admitted
        self._begun = False
        self._name = {
            "id": f"chatcmpl-{uuid4().hex}",
            "model": admitted.request.model,
        }
        self.shown = ""

    def piece(self, text: str) -> ChatChunk | None:
        """Chunk for a piece of text. The first empty piece begins the answer with the role; for later ones, None."""
        if text:
            return self._show(text)
        if self._begun:
            return None
        self._begun = True
        return self._chunk(Delta(role="assistant", content=""))

    def _show(self, text: str) -> ChatChunk:
        self.shown += text
        return self._chunk(Delta(content=text))

    def refused(self) -> Iterator[ChatChunk]:
        if not self.shown:
            yield self._show(self._admitted.guard.policy.document.refusal)
        yield from self._end("content_filter", None)

    async def concluded(self) -> Sequence[ChatChunk]:
        """Chunks that end an answer whose text passed the stream rails."""
        call, answer = self.call, self.call.answer
        answer.calls = [each.model_copy(update={"id": f"call_{uuid4().hex}"}) for each in answer.calls]
        to_check = [_to_check(self._admitted, each) for each in answer.calls]
        concluding = call.conclude([each for each in to_check if isinstance(each, Checked)])
        judged, final = await unless_stopped(self._deps, concluding, self._admitted.tags, self._admitted.epoch)
        following = iter(judged)
        rulings = [next(following) if isinstance(each, Checked) else each for each in to_check]
        said = call.before + call.released
        text = final.text if final is not None else said
        refused = any(ruling is not None and _refuses(self._admitted, ruling) for ruling in (*rulings, final))
        if refused or (call.live and text != said):  # shown text can't be redacted any more
            return list(self.refused())
        pairs = list(zip(answer.calls, rulings, strict=True))
        shares = [(each.id, share) for each, made in pairs for share in made.shares]
        if await self._deps.journal.limits.take(self._admitted.counting, shares):  # others were faster
            return list(self.refused())
        reasoning = await call.reasoning()
        ending = [self._chunk(Delta(reasoning_content=reasoning))] if reasoning else []
        ending += [self._show(text)] if text and not call.live else []
        # A chunk for each call, as OpenAI has them: some clients read only the first call of a chunk.
        ending += [self._chunk(Delta(tool_calls=[_delta(i, each, made)])) for i, (each, made) in enumerate(pairs)]
        reason = answer.finish_reason or "stop"
        if answer.calls and reason != "length":
            reason = "tool_calls"
        asks = [ask for each, made in pairs for ask in _asks(each, made)]
        return [*ending, *self._end(reason, self._logprobs(), asks)]

    def _logprobs(self) -> ChoiceLogprobs | None:
        """Log-probabilities; None if a rail has changed the text, because the tokens would reveal the original."""
        answer = self.call.answer
        spelt = "".join(token.token for token in answer.logprobs)
        untouched = self.shown == answer.text == spelt and not answer.calls
        return ChoiceLogprobs(content=answer.logprobs) if answer.logprobs and untouched else None

    def _end(self, reason: str, logprobs: ChoiceLogprobs | None, asks: list[Ask] | None = None) -> Iterator[ChatChunk]:
        answer = self.call.answer
        last = self._chunk(finish_reason=reason, logprobs=logprobs)
        last.flightloop = answer.extension
        if asks:
            last.flightloop = (answer.extension or ResponseExtension()).model_copy(update={"asks": asks})
        yield last
        if answer.usage is not None:
            yield ChatChunk(**self._name, created=answer.created, usage=answer.usage)

    def _chunk(self, delta: Delta | None = None, **fields: Any) -> ChatChunk:
        answer = self.call.answer
        choices = [ChunkChoice(delta=delta or Delta(), **fields)]
        return ChatChunk(**self._name, created=answer.created, choices=choices)


def _refuses(admitted: Admitted, ruling: Ruling) -> bool:
    if ruling.action is not Action.ASK:
        return ruling.action is Action.BLOCK
    is_call = any(verdict.stage is Stage.TOOL_CALL for verdict in ruling.verdicts)
    return admitted.context.tainted or not is_call


def _asks(call: ToolCall, ruling: Ruling) -> Iterator[Ask]:
    """Yields the reasons why a person should decide about a call, without the effect: callers' tools declare none."""
    for verdict in ruling.verdicts:
        if verdict.action is Action.ASK and verdict.labels != [BY_EFFECT]:
            yield Ask(call_id=call.id, reason=f"{verdict.rail}: {verdict.reason}")


def _to_check(admitted: Admitted, call: ToolCall) -> Checked | Ruling:
    """The call to check, or a ruling if no rail could check it."""
    spec = admitted.specs.get(call.function.name)
    if spec is None:
        return _unjudged(f"{call.function.name} was not offered")
    try:
        checked_call = CheckedCall(call.id, spec, call.function.parsed())
    except ValueError:
        return _unjudged(f"the arguments of {call.function.name} are not a JSON object that all readers read alike")
    name = _in_other_case(checked_call.arguments, spec.parameters)
    if name is not None:
        return _unjudged(f"{call.function.name} has no argument {name!r}: upper and lower case differ")
    return Checked(Stage.TOOL_CALL, "", admitted.context, checked_call)


def _in_other_case(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """A name that is declared in other upper and lower case: some clients read it as the declared one."""
    declared: Mapping[str, Any] = schema.get("properties") or {}
    written = {name.casefold() for name in declared}
    for name, value in arguments.items():
        if name not in declared and name.casefold() in written:
            return name
        below = declared.get(name)
        if isinstance(value, dict) and isinstance(below, Mapping) and (found := _in_other_case(value, below)):
            return found
    return None


def _unjudged(reason: str) -> Ruling:
    """Ruling that blocks a call which no rail can check."""
    return Ruling(Action.BLOCK, "", None, (), reason, False)


def _delta(index: int, call: ToolCall, ruling: Ruling) -> ToolCallDelta:
    # Arguments that no rail has changed are sent as the model wrote them.
    changed = ruling.arguments is not None and ruling.arguments != call.function.parsed()
    arguments = json.dumps(ruling.arguments, ensure_ascii=False) if changed else call.function.arguments or "{}"
    return ToolCallDelta(
        index=index, id=call.id, type="function", function=FunctionDelta(name=call.function.name, arguments=arguments)
    )
