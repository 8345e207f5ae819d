"""Long work in a thread: searching a long text takes a moment, in which the event loop serves others."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from guardrails.turns import Turns

_MOST, _EACH = 4, 3
"""Threads, and those that one tenant's texts may take: one is left for the others' at any time."""
_THREADS = ThreadPoolExecutor(max_workers=_MOST, thread_name_prefix="guard")
"""Of its own: whoever ends a tool or looks for a stop waits for no search."""
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
_TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")
P = ParamSpec("P")
T = TypeVar("T")

LONG = 4096
"""Characters from which on a text is searched in a thread; below, the way there takes longer than the search."""


@contextmanager
def on_behalf_of(tenant_id: str) -> Iterator[None]:
    """Whose texts are searched meanwhile."""
    token = _TENANT.set(tenant_id)
    try:
        yield
    finally:
        _TENANT.reset(token)


async def aside(characters: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, called in a thread if its text has many characters. Raises what it raises.

    The tenants take turns: one whose texts take long makes no other one's wait for all of them.
    """
    if characters < LONG:
        return function(*args, **kwargs)
    loop, tenant_id = asyncio.get_running_loop(), _TENANT.get()
    turns = _TURNS.setdefault(loop, Turns(_MOST, _EACH))
    await turns.take(tenant_id)

    def ended(work: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it go its turns
            loop.call_soon_threadsafe(turns.give_back, tenant_id)

    work = _THREADS.submit(partial(contextvars.copy_context().run, function, *args, **kwargs))
    work.add_done_callback(ended)  # not when nobody waits for it any more: a thread goes on to its end
    return await asyncio.wrap_future(work)
