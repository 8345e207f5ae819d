"""What a chat completion passes before the caller sees it: stream, tool calls, final answer.

A call is held until its arguments are complete and judged. An ``ask`` is left to the caller, who is the
one to perform the call or not; in a conversation that is tainted it is a refusal, since a program that
performs every call would be the victim. Text is released as the policy says: ``held`` until the final check, or
``live`` as soon as no rail can object to it any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agent.api.admission import Admitted
from agent.api.deps import ApiDeps
from agent.api.metered import metered
from agent.api.racing import until
from agent.api.verdicts import record
from flightloop.answer import Answer
from flightloop.chat import (
    ChatChunk,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FunctionDelta,
    ToolCall,
    ToolCallDelta,
)
from flightloop.errors import Interrupted
from flightloop.verdicts import Action, Stage
from guardrails.aside import aside
from guardrails.holdback import StreamBlocked
from guardrails.types import CallSubject, Ruling, Subject


class _Seen(Answer):
    """What the model has said so far, and the envelope of its chunks; ``shown``: what of it has gone out."""

    shown = ""

    def chunk(self, delta: Delta | None = None, **fields: Any) -> ChatChunk:
        return ChatChunk(
            id=self.id, created=self.created, model=self.model, choices=[ChunkChoice(delta=delta or Delta(), **fields)]
        )

    def show(self, text: str) -> ChatChunk:
        self.shown += text
        return self.chunk(Delta(content=text))


async def guarded(deps: ApiDeps, admitted: Admitted) -> AsyncGenerator[ChatChunk, None]:
    """The answer as OpenAI chunks: role, text, whole calls, an end with ``finish_reason``, usage.

    An answer that a rail refuses ends with ``content_filter``, and with the policy's refusal if nothing was shown.

    Raises:
        BudgetExhausted: the tenant's bounds leave no room for an answer.
        Interrupted: an interrupt that matches was raised meanwhile.
        FlightloopError: what the model raises.
    """
    seen = _Seen()
    hold = admitted.guard.stream(admitted.context)
    live = admitted.guard.policy.document.streaming == "live"
    searched = admitted.context.characters  # what is found may have to be looked for in all of it
    try:
        async with aclosing(_watched(deps, admitted)) as chunks:
            async for chunk in chunks:
                if not seen.id:
                    seen.add(chunk.model_copy(update={"choices": []}))
                    yield seen.chunk(Delta(role="assistant", content=""))
                text = await aside(searched, hold.push, seen.add(chunk))
                if text and live:
                    yield seen.show(text)
        rest = await aside(searched + len(seen.text), hold.finish)
        if rest and live:
            yield seen.show(rest)
    except StreamBlocked as blocked:
        await record(deps, admitted.tags.tenant_id, blocked.ruling.verdicts)
        async for chunk in _refused(admitted, seen):
            yield chunk
        return
    await record(deps, admitted.tags.tenant_id, hold.ruling().verdicts)
    async for chunk in _closing(deps, admitted, seen, live, seen.shown if live else rest):
        yield chunk


async def _watched(deps: ApiDeps, admitted: Admitted) -> AsyncGenerator[ChatChunk, None]:
    """The model's chunks; an interrupt ends them. Our engine sees it itself, for other models it is looked for here."""
    stream, stopped = metered(deps, admitted), asyncio.Event()
    if not deps.model.capabilities.interrupts:
        stream = until(stream, _raised(deps, admitted, stopped))
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            if chunk.flightloop is not None and chunk.flightloop.interrupted:
                stopped.set()
                break
            yield chunk
    if stopped.is_set():
        raise Interrupted("the emergency stop ended the answer")


async def _raised(deps: ApiDeps, admitted: Admitted, stopped: asyncio.Event) -> None:
    await deps.interrupts.raised(admitted.tags, admitted.epoch)
    stopped.set()


async def _closing(
    deps: ApiDeps, admitted: Admitted, seen: _Seen, live: bool, text: str
) -> AsyncGenerator[ChatChunk, None]:
    """The end of an answer whose text passed the stream's rails as ``text``."""
    rulings = await _call_rulings(deps, admitted, seen.calls)
    final = await _final_ruling(deps, admitted, text)
    rewritten = final.text if final is not None else text
    refused = [ruling for ruling in (*rulings, final) if ruling is not None and _refuses(admitted, ruling)]
    if refused or (live and rewritten != text):  # what was shown cannot be redacted any more
        async for chunk in _refused(admitted, seen):
            yield chunk
        return
    if not live and rewritten:
        yield seen.show(rewritten)
    if seen.calls:
        pairs = zip(seen.calls, rulings, strict=True)
        calls = [_delta(index, call, ruling) for index, (call, ruling) in enumerate(pairs)]
        yield seen.chunk(Delta(tool_calls=calls))
    reason = "tool_calls" if seen.calls else (seen.finish_reason or "stop")
    # Tokens spell out the text: they only leave with a text that no rail has changed.
    spelt = "".join(token.token for token in seen.logprobs)
    untouched = seen.shown == seen.text == spelt and not seen.calls
    logprobs = ChoiceLogprobs(content=seen.logprobs) if seen.logprobs and untouched else None
    async for chunk in _end(seen, reason, logprobs):
        yield chunk


async def _refused(admitted: Admitted, seen: _Seen) -> AsyncGenerator[ChatChunk, None]:
    if not seen.shown:
        yield seen.show(admitted.guard.policy.document.refusal)
    async for chunk in _end(seen, "content_filter", None):
        yield chunk


async def _end(seen: _Seen, reason: str, logprobs: ChoiceLogprobs | None) -> AsyncGenerator[ChatChunk, None]:
    last = seen.chunk(finish_reason=reason, logprobs=logprobs)
    if seen.extension is not None:
        last.flightloop = seen.extension
    yield last
    if seen.usage is not None:
        yield ChatChunk(id=seen.id, created=seen.created, model=seen.model, usage=seen.usage)


def _refuses(admitted: Admitted, ruling: Ruling) -> bool:
    if ruling.action is not Action.ASK:
        return ruling.action is Action.BLOCK
    is_call = any(verdict.stage is Stage.TOOL_CALL for verdict in ruling.verdicts)
    return admitted.context.tainted or not is_call


async def _call_rulings(deps: ApiDeps, admitted: Admitted, calls: list[ToolCall]) -> list[Ruling]:
    rulings = list(await asyncio.gather(*(_judged_call(admitted, call) for call in calls)))
    await record(deps, admitted.tags.tenant_id, [verdict for ruling in rulings for verdict in ruling.verdicts])
    return rulings


async def _judged_call(admitted: Admitted, call: ToolCall) -> Ruling:
    spec = admitted.specs.get(call.function.name)
    if spec is None:
        return _unjudged(f"{call.function.name} was not offered")
    try:
        subject = CallSubject(call.id, spec, call.function.parsed())
    except ValueError:
        return _unjudged(f"the arguments of {call.function.name} are not a JSON object")
    return await admitted.guard.check(Subject(Stage.TOOL_CALL, "", admitted.context, subject))


def _unjudged(reason: str) -> Ruling:
    """What no rail can judge does not pass."""
    return Ruling(Action.BLOCK, "", None, (), reason, False)


async def _final_ruling(deps: ApiDeps, admitted: Admitted, text: str) -> Ruling | None:
    if not text:
        return None
    ruling = await admitted.guard.check(Subject(Stage.FINAL, text, admitted.context))
    await record(deps, admitted.tags.tenant_id, ruling.verdicts)
    return ruling


def _delta(index: int, call: ToolCall, ruling: Ruling) -> ToolCallDelta:
    # Arguments that no rail has changed leave as the model wrote them.
    changed = ruling.arguments is not None and ruling.arguments != call.function.parsed()
    arguments = json.dumps(ruling.arguments, ensure_ascii=False) if changed else call.function.arguments or "{}"
    return ToolCallDelta(
        index=index, id=call.id, type="function", function=FunctionDelta(name=call.function.name, arguments=arguments)
    )
