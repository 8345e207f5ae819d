"""Reads an answer in the background while it is produced."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from flightloop.chat import ChatChunk
from flightloop.errors import ModelUnavailable


class Reading:
    """Iterator over an answer's chunks, buffered by a separate task. A slow reader gets adjacent text in one chunk.

    Args:
        chunks: the answer; closed at its end or by ``aclose``.
    """

    def __init__(self, chunks: AsyncIterator[ChatChunk]) -> None:
        self.stopped = False
        """Whether the coroutine passed to ``end_with`` has ended the reading."""
        self._gathered: deque[ChatChunk] = deque()
        self._news = asyncio.Event()
        self._over = False
        self._error: Exception | None = None
        self._tasks = [asyncio.create_task(self._take(chunks))]

    def __aiter__(self) -> AsyncIterator[ChatChunk]:
        return self

    async def __anext__(self) -> ChatChunk:
        """Next chunk. Raises the answer's error once all chunks before it have been read."""
        while not self._gathered:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._gathered.popleft()

    def end_with(self, stop: Coroutine[Any, Any, object]) -> None:
        """Ends the reading once ``stop`` returns, and drops unread chunks."""
        self._tasks.append(asyncio.create_task(self._end_with(stop)))

    async def aclose(self) -> None:
        """Cancels the tasks and waits until they have ended. They end even if the caller is cancelled meanwhile."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # retrieved: the reader has already raised it

    async def _take(self, chunks: AsyncIterator[ChatChunk]) -> None:
        try:
            async for chunk in chunks:
                self._put(chunk)
        except Exception as error:
            self._error = error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._error = ModelUnavailable("the answer was interrupted before its end")  # the source was cancelled
        finally:
            self._end()
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _put(self, chunk: ChatChunk) -> None:
        both = joined(self._gathered[-1], chunk) if self._gathered else None
        if both is None:
            self._gathered.append(chunk)
        else:
            self._gathered[-1] = both
        self._news.set()

    async def _end_with(self, stop: Coroutine[Any, Any, object]) -> None:
        await stop
        if not self._over:
            self.stopped = True
            self._gathered.clear()
            self._end()

    def _end(self) -> None:
        self._over = True
        self._news.set()


def joined(earlier: ChatChunk, later: ChatChunk) -> ChatChunk | None:
    """Merges two chunks if both contain only text of the same choice; else None."""
    if not (_is_text(earlier) and _is_text(later) and earlier.choices[0].index == later.choices[0].index):
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
