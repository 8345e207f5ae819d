"""Replaces tool calls of low confidence by a text answer of the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import Overloaded

Ask = Callable[[ChatRequest], AsyncGenerator[ChatChunk, None]]
LEAST_TOKENS = 32
"""Minimum tokens left for a text answer; with fewer, calls are made regardless of their confidence."""
RETRY_S = 0.1
"""Seconds between attempts to enqueue the second answer while the queue is full."""


def may_choose(request: ChatRequest) -> bool:
    """Whether the model is free to call a tool or to answer with text."""
    return bool(request.tools) and request.tool_choice in (None, "auto")


def least_of(request: ChatRequest, own: float) -> float:
    """Minimum confidence of a request's calls: its own level, or the server's ``own``; 0 if it leaves no choice."""
    asked = request.flightloop.call_confidence
    return (own if asked is None else asked) if may_choose(request) else 0.0


async def without_unsure_calls(ask: Ask, request: ChatRequest, least: float) -> AsyncGenerator[ChatChunk, None]:
    """Streams an answer. If it consists of calls less probable than ``least``, the model is asked for text instead.

    Text is streamed at once; calls are held until they are complete, but calls after text are always made. Tokens of
    withheld calls count towards the usage. A chunk with their usage precedes the text.

    Args:
        ask: streams an answer.
        request: a request that fulfils ``may_choose``.
        least: minimum probability of a call, 0..1: the product over its tokens, without those that the grammar
            forces. Of several calls, the geometric mean counts: two calls are no less right for being two.
    """
    began = time.monotonic()
    held: list[ChatChunk] = []
    words = False
    async with aclosing(ask(request)) as chunks:
        async for chunk in chunks:
            held.append(chunk)
            words = words or any(choice.delta.content for choice in chunk.choices)
            if words:
                for each in held:
                    yield each
                held.clear()
    again = _text_request(request, held, least)
    if again is None:
        for chunk in held:
            yield chunk
        return
    last, took = held[-1], time.monotonic() - began
    yield last.model_copy(update={"choices": [], "flightloop": None})
    async with aclosing(_retried(ask, again)) as chunks:
        async for chunk in chunks:
            yield _continued(chunk, last, took)


async def _retried(ask: Ask, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
    """Streams an answer to a request that was admitted before. If the queue is full now, retries until it isn't."""
    while True:
        try:
            async with aclosing(ask(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except Overloaded:  # raised before any output
            await asyncio.sleep(RETRY_S)


def _text_request(request: ChatRequest, held: list[ChatChunk], least: float) -> ChatRequest | None:
    """The request for a text answer; None if the held calls are made."""
    last = held[-1] if held else None
    if last is None or last.usage is None or last.flightloop is None or last.flightloop.confidence is None:
        return None
    if last.choices[0].finish_reason != "tool_calls" or last.flightloop.confidence >= least ** _calls(held):
        return None
    changes: dict[str, object] = {"tool_choice": "none"}
    if request.token_limit is not None:
        left = request.token_limit - last.usage.completion_tokens
        if left < LEAST_TOKENS:
            return None
        changes |= {"max_tokens": left, "max_completion_tokens": None}
    return request.model_copy(update=changes)


def _calls(held: list[ChatChunk]) -> int:
    deltas = (choice.delta for chunk in held for choice in chunk.choices)
    return len({call.index for delta in deltas for call in delta.tool_calls or ()})


def _continued(chunk: ChatChunk, withheld: ChatChunk, took: float) -> ChatChunk:
    """A chunk of the second answer as part of the first answer's stream.

    Args:
        chunk: chunk of the second answer.
        withheld: last chunk of the first answer.
        took: duration of the first answer in seconds.
    """
    spent, doubt = withheld.usage, withheld.flightloop
    assert spent is not None
    assert doubt is not None
    chunk.id, chunk.created = withheld.id, withheld.created
    if chunk.usage is not None:
        completion = spent.completion_tokens + chunk.usage.completion_tokens
        total = chunk.usage.prompt_tokens + completion
        chunk.usage = chunk.usage.model_copy(update={"completion_tokens": completion, "total_tokens": total})
    told = chunk.flightloop
    if told is not None:
        told.withheld = doubt.confidence
        told.ttft_seconds = None if told.ttft_seconds is None else took + told.ttft_seconds
        told.queue_seconds = (doubt.queue_seconds or 0.0) + (told.queue_seconds or 0.0)
    return chunk
