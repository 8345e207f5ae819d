"""Cancellation of streams and tasks when another event happens first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from anyio import CancelScope
from starlette.types import Receive

T = TypeVar("T")


async def until(items: AsyncIterator[T], stop: Coroutine[Any, Any, object]) -> AsyncGenerator[T, None]:
    """Yields items until ``stop`` returns; then closes the iterator, even if it is waiting for the next item."""
    stopping = asyncio.create_task(stop)
    step: asyncio.Task[T] | None = None
    try:
        while not stopping.done():
            step = asyncio.create_task(_next(items))
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            try:
                item = step.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        # A cancelled response is cancelled again at every await, so the clean-up must be shielded.
        with CancelScope(shield=True):
            await ended(stopping)
            if step is not None:
                await ended(step)
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()


async def first_of(work: Coroutine[Any, Any, T], stop: Coroutine[Any, Any, object]) -> T | None:
    """Returns the result of ``work``. If ``stop`` returns first, cancels ``work`` and returns None."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop)
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        with CancelScope(shield=True):
            await ended(stopping)
            await ended(task)


async def any_of(*stops: Coroutine[Any, Any, object]) -> None:
    """Returns when the first of the coroutines returns; cancels the others."""
    tasks = [asyncio.create_task(stop) for stop in stops]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        with CancelScope(shield=True):
            for task in tasks:
                await ended(task)


async def gone(receive: Receive) -> None:
    """Returns when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task, waits until it has ended, and ignores its result. Call it shielded from cancellation."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # retrieved: the waiting code has already raised it
