"""Runs a helper process that answers over a pipe."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def beside(serve: Callable[[Connection], None]) -> Iterator[Connection]:
    """Runs ``serve`` in a new process with one end of a pipe, and yields the other end.

    When the context exits, the end closes: ``serve`` gets EOFError and should return; after 10 s it is killed.
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
