"""Choices of a completion, produced concurrently; each is a separate guarded call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from anyio import CancelScope

from agent.api.completions.admission import Admitted
from agent.api.completions.chat_chunks import chunks
from agent.api.completions.owner import CompletionOwner
from agent.api.deps import ApiDeps
from flightloop.chat import ChatChunk, ChatRequest, Usage
from flightloop.errors import ModelUnavailable

_News = tuple[int, ChatChunk | Exception | None]
"""Index of a choice, with its next chunk, the error that ended it, or None at its end."""


def choices(deps: ApiDeps, admitted: Admitted) -> AsyncGenerator[ChatChunk, None]:
    """Yields the chunks of all choices. Once any choice has begun, the first chunks of all are sent in order; the other
    chunks follow as they arrive, and the total usage comes last.

    The first error, such as an interrupt, ends all of them. Raises the errors of ``chat_chunks.chunks``.
    """
    owner = CompletionOwner(deps, admitted.tags, admitted.request.n)
    return chunks(deps, admitted, owner) if admitted.request.n == 1 else _side_by_side(deps, admitted, owner)


async def _side_by_side(deps: ApiDeps, admitted: Admitted, owner: CompletionOwner) -> AsyncGenerator[ChatChunk, None]:
    news: asyncio.Queue[_News] = asyncio.Queue()
    requests = [_seeded(admitted.request, index) for index in range(admitted.request.n)]
    tasks = [
        asyncio.create_task(_tell(index, chunks(deps, replace(admitted, request=request), owner), news))
        for index, request in enumerate(requests)
    ]
    first: ChatChunk | None = None
    usage, ended = Usage(), 0
    try:
        while ended < len(tasks):
            index, told = await news.get()
            if told is None:
                ended += 1
                continue
            if isinstance(told, Exception):
                raise told
            if first is None:
                first = told
                for each in range(len(tasks)):  # in order, because the openai package lists choices as they begin
                    yield _of_choice(first, first, each)
            usage += told.usage or Usage()
            if told.choices and told.choices[0].delta.role is None:
                yield _of_choice(told, first, index)
    finally:
        # A cancelled response is cancelled again at every await, so the clean-up must be shielded.
        with CancelScope(shield=True):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await owner.close()
    assert first is not None
    yield ChatChunk(id=first.id, created=first.created, model=first.model, usage=usage)


def _seeded(request: ChatRequest, index: int) -> ChatRequest:
    """Gives each choice a seed with a different absolute value, because many generators ignore the sign."""
    seed = request.seed
    if seed is not None:
        seed += index if seed >= 0 else -index
    return request.model_copy(update={"n": 1, "seed": seed})


async def _tell(index: int, answer: AsyncGenerator[ChatChunk, None], news: asyncio.Queue[_News]) -> None:
    """Puts the chunks of a choice into the queue and then its end, even if Ray cancels the call."""
    end: Exception | None = ModelUnavailable("the answer was interrupted before its end")
    try:
        async with aclosing(answer):
            async for chunk in answer:
                news.put_nowait((index, chunk))
        end = None
    except Exception as error:
        end = error
    finally:
        news.put_nowait((index, end))


def _of_choice(chunk: ChatChunk, first: ChatChunk, index: int) -> ChatChunk:
    """The chunk with the choice's index and the id of the completion's first chunk."""
    told = [choice.model_copy(update={"index": index}) for choice in chunk.choices]
    return chunk.model_copy(update={"id": first.id, "created": first.created, "choices": told, "usage": None})
