"""A process of its own that answers over a pipe."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def beside(serve: Callable[[Connection], None]) -> Iterator[Connection]:
    """Runs ``serve`` in a fresh process with one end of a pipe and gives the other end.

    The end closes with the block: ``serve`` then meets EOFError and returns, and is killed if it has not in 10 s.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()
