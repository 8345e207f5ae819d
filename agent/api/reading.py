"""An answer that is read while it is made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from anyio import CancelScope
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agent.api.access import caller_gone, stream_over
from agent.api.deps import ApiDeps
from agent.api.racing import ended, first_of
from flightloop.chat import ChatChunk

T = TypeVar("T")


class Reading(Generic[T]):
    """What an iterator gives, taken from it by a task of its own: who reads slowly gets what has gathered in one piece.

    Args:
        items: belongs to the task from now on; closing the reading closes it.
        joined: two items that follow each other as one; None where they have to stay apart.
    """

    def __init__(self, items: AsyncGenerator[T, None], joined: Callable[[T, T], T | None]) -> None:
        self._joined = joined
        self._gathered: deque[T] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._error: Exception | None = None
        self._tasks = [asyncio.create_task(self._take(items))]

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        """Raises what the iterator raised, once everything before it was read."""
        while not self._gathered:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._gathered.popleft()

    def end_with(self, stop: Coroutine[Any, Any, object]) -> None:
        """Nothing comes any more once ``stop`` has returned."""
        self._tasks.append(asyncio.create_task(self._end_with(stop)))

    async def close(self) -> None:
        """However often the caller is cancelled meanwhile, the iterator is closed afterwards."""
        with CancelScope(shield=True):
            for task in self._tasks:
                await ended(task)

    async def _take(self, items: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    self._put(item)
        except Exception as error:
            self._error = error
        self._end()

    def _put(self, item: T) -> None:
        both = self._joined(self._gathered[-1], item) if self._gathered else None
        if both is None:
            self._gathered.append(item)
        else:
            self._gathered[-1] = both
        self._news.set()

    async def _end_with(self, stop: Coroutine[Any, Any, object]) -> None:
        await stop
        self._gathered.clear()
        self._error = None
        self._end()

    def _end(self) -> None:
        self._over = True
        self._news.set()


async def open_reading(
    chunks: AsyncGenerator[ChatChunk, None], request: Request, deps: ApiDeps
) -> tuple[ChatChunk, Reading[ChatChunk]] | None:
    """An answer's first chunk, and the reading of the rest, which ends when the stream must. None: nobody waits for it.

    Raises what the answer raises before its first chunk: until then an error is still an HTTP status.
    """
    reading = Reading(chunks, joined)
    try:
        first = await first_of(anext(reading), caller_gone(request, deps))
    except BaseException:
        await reading.close()
        raise
    if first is None:
        await reading.close()
        return None
    reading.end_with(stream_over(request, deps))
    return first, reading


class Told(EventSourceResponse):
    """Server-sent events out of a reading, which ends with them, or with the client that went away."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], reading: Reading[ChatChunk], heartbeat_s: float) -> None:
        super().__init__(events, ping=heartbeat_s, sep="\n")
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._reading.close()


def joined(earlier: ChatChunk, later: ChatChunk) -> ChatChunk | None:
    """Two chunks of an answer as one, if both bring text and nothing else."""
    if not (_is_text(earlier) and _is_text(later)):
        return None
    (choice,) = earlier.choices
    text = (choice.delta.content or "") + (later.choices[0].delta.content or "")
    delta = choice.delta.model_copy(update={"content": text})
    return earlier.model_copy(update={"choices": [choice.model_copy(update={"delta": delta})]})


def _is_text(chunk: ChatChunk) -> bool:
    if len(chunk.choices) != 1 or chunk.usage is not None or chunk.flightloop is not None:
        return False
    (choice,) = chunk.choices
    plain = choice.finish_reason is None and choice.logprobs is None
    return plain and bool(choice.delta.content) and not choice.delta.tool_calls
