"""Long work in a thread: searching a long text takes a moment, in which the event loop serves others."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="guard")
"""Of its own: whoever ends a tool or looks for a stop waits for no search."""
P = ParamSpec("P")
T = TypeVar("T")

LONG = 4096
"""Characters from which on a text is searched in a thread; below, the way there takes longer than the search."""


async def aside(characters: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, called in a thread if its text has many characters. Raises what it raises."""
    if characters < LONG:
        return function(*args, **kwargs)
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)
