"""Runs long text searches in a thread, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from guardrails.turns import TENANT, Turns

_MOST, _EACH = 4, 3
"""Threads in all, and threads that one tenant may use at a time: one is always left for the other tenants."""
_THREADS = ThreadPoolExecutor(max_workers=_MOST, thread_name_prefix="guard")
"""A separate pool, so that ending a tool or checking for a stop never waits behind a search."""
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
P = ParamSpec("P")
T = TypeVar("T")

LONG = 4096
"""Texts of this many characters or more are searched in a thread. For shorter ones, the switch costs more."""


@contextmanager
def on_behalf_of(tenant_id: str) -> Iterator[None]:
    """Counts the searches inside the context towards this tenant's share of the threads."""
    token = TENANT.set(tenant_id)
    try:
        yield
    finally:
        TENANT.reset(token)


async def aside(characters: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls the function, in a thread if its text has ``LONG`` characters or more. Returns its result.

    Raises the function's exceptions. Tenants take turns: long texts of one tenant don't delay the others.
    """
    if characters < LONG:
        return function(*args, **kwargs)
    loop, tenant_id = asyncio.get_running_loop(), TENANT.get()
    turns = _TURNS.setdefault(loop, Turns(_MOST, _EACH))
    await turns.take(tenant_id)

    def ended(work: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits for a turn
            loop.call_soon_threadsafe(turns.give_back, tenant_id)

    work = _THREADS.submit(partial(contextvars.copy_context().run, function, *args, **kwargs))
    work.add_done_callback(ended)  # not when the caller is cancelled: the thread runs to its end
    return await asyncio.wrap_future(work)
