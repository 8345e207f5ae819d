"""A scripted model server in a process of its own, so that its work is not that of the measurement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection

from agent.testing.model_server import ScriptedServer
from bench.beside import beside


@contextmanager
def scripted_model(make: Callable[[], ScriptedServer]) -> Iterator[str]:
    """Serves what ``make`` creates while the context is open. Yields the base URL, with ``/v1``.

    ``make`` is called in the other process, so it must be picklable.
    """
    with beside(partial(_serve, make)) as connection:
        yield connection.recv()


def _serve(make: Callable[[], ScriptedServer], connection: Connection) -> None:
    async def serve() -> None:
        async with make().serving() as url:
            connection.send(url)
            with suppress(EOFError):
                await asyncio.to_thread(connection.recv)

    asyncio.run(serve())
