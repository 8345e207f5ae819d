"""Calls that the model is not sure of are not made: it answers in words instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from flightloop.chat import ChatChunk, ChatRequest

Ask = Callable[[ChatRequest], AsyncGenerator[ChatChunk, None]]


async def sure(ask: Ask, request: ChatRequest, least: float) -> AsyncGenerator[ChatChunk, None]:
    """An answer whose calls are at least so likely, by the model's own figures; with less it is asked for words.

    Both answers count in the usage. Words come while they are written, calls at their end.

    Args:
        ask: streams an answer.
        request: one that leaves to the model whether to call.
        least: probability of all the words of the calls together, 0..1.
    """
    told: list[ChatChunk] = []
    held: list[ChatChunk] = []
    async with aclosing(ask(request)) as chunks:
        async for chunk in chunks:
            if held or any(choice.delta.tool_calls for choice in chunk.choices):
                held.append(chunk)
            else:
                told.append(chunk)
                yield chunk
    again = _in_words(request, held, least)
    if again is None:
        for chunk in held:
            yield chunk
        return
    async with aclosing(ask(again)) as chunks:
        async for chunk in chunks:
            yield _continued(chunk, held, opened=bool(told))


def may_choose(request: ChatRequest) -> bool:
    """Whether the request leaves to the model whether to call."""
    return bool(request.tools) and request.tool_choice in (None, "auto")


def _in_words(request: ChatRequest, held: list[ChatChunk], least: float) -> ChatRequest | None:
    """What to ask instead; None: the calls stand, or there is no room for another answer."""
    last = held[-1] if held else None
    if last is None or last.usage is None or last.flightloop is None or last.flightloop.confidence is None:
        return None
    if last.choices[0].finish_reason != "tool_calls" or last.flightloop.confidence >= least:
        return None
    changes: dict[str, object] = {"tool_choice": "none"}
    if request.token_limit is not None:
        left = request.token_limit - last.usage.completion_tokens
        if left <= 0:
            return None
        changes |= {"max_tokens": left, "max_completion_tokens": None}
    return request.model_copy(update=changes)


def _continued(chunk: ChatChunk, held: list[ChatChunk], *, opened: bool) -> ChatChunk:
    """A chunk of the second answer as one of the first's stream."""
    spent, doubt = held[-1].usage, held[-1].flightloop
    assert spent is not None
    assert doubt is not None
    chunk.id, chunk.created = held[0].id, held[0].created
    for choice in chunk.choices:
        choice.delta.role = None if opened else choice.delta.role
    if chunk.usage is not None:
        completion = spent.completion_tokens + chunk.usage.completion_tokens
        total = chunk.usage.prompt_tokens + completion
        chunk.usage = chunk.usage.model_copy(update={"completion_tokens": completion, "total_tokens": total})
    if chunk.flightloop is not None:
        chunk.flightloop.withheld = doubt.confidence
    return chunk
