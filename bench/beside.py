"""Runs a helper process that answers over a pipe."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def beside(serve: Callable[[Connection], None]) -> Iterator[Connection]:
    """Runs ``serve`` in a new process with one end of a pipe, and yields the other end.

    On exit the yielded end is closed: ``serve`` gets EOFError and should return. After 10 s the process is killed.
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
