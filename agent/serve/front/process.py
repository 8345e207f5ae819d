"""Runs the front as a child process of the API."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from pydantic import SecretStr

from agent.config import Settings
from flightloop.errors import ConfigError
from observability.metrics import Snapshot

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class FrontOrder:
    """Start parameters of the front."""

    settings: Settings
    model: str
    """Name of the model."""
    api: str
    """Path of the API's Unix socket."""
    listener: int
    """Descriptor of the listening socket."""

    def written(self) -> bytes:
        """JSON with secrets in plain text, to be sent through a pipe between two processes."""
        settings = self.settings.model_dump(mode="python")
        return json.dumps({**vars(self), "settings": settings}, default=_plain).encode()

    @classmethod
    def read(cls, written: bytes) -> FrontOrder:
        fields: dict[str, Any] = json.loads(written)
        return cls(**{**fields, "settings": Settings(**fields["settings"])})


@asynccontextmanager
async def api_socket() -> AsyncIterator[socket.socket]:
    """A listening Unix socket that only this user can reach."""
    with tempfile.TemporaryDirectory(prefix="flightloop-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/api")
        listener.listen(2048)
        listener.setblocking(False)
        yield listener


@asynccontextmanager
async def front_process(
    settings: Settings, model: str, api: str, listener: socket.socket, sink: Callable[[Snapshot], object]
) -> AsyncIterator[asyncio.Task[int]]:
    """Runs the front on ``listener`` while the context is open; at its end, open requests may finish.

    Args:
        sink: receives the front's metrics.

    Yields:
        A task that ends with the process.

    Raises:
        ConfigError: the front does not start.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "agent.serve.front",
            str(theirs.fileno()),
            pass_fds=(theirs.fileno(), listener.fileno()),
            env=environment,
            process_group=0,  # Ctrl-C is handled by this process
        )
    connection = Connection(ours.detach())
    ended = asyncio.create_task(process.wait())
    try:
        connection.send_bytes(FrontOrder(settings, model, api, listener.fileno()).written())
        await asyncio.to_thread(_ready, connection, sink)
        Thread(target=_pass_on, args=(connection, sink), name="front-figures", daemon=True).start()
        yield ended
    finally:
        _tell_end(connection)
        await ended


def _plain(value: object) -> str:
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _ready(connection: Connection, sink: Callable[[Snapshot], object]) -> None:
    """Waits until the front is ready. Raises ConfigError if it reports a problem or ends."""
    try:
        while isinstance(problem := connection.recv(), Snapshot):  # if the start takes longer than an interval
            sink(problem)
    except (EOFError, OSError):
        raise ConfigError("the front process ended while it was starting; see its output above") from None
    if problem is not None:
        raise ConfigError(problem)


def _tell_end(connection: Connection) -> None:
    """Stops the front by shutting down the sending half of the connection, which the front watches."""
    # OSError: the front has already ended, and its end of the connection or ours is closed.
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as half:
        half.shutdown(socket.SHUT_WR)


def _pass_on(connection: Connection, sink: Callable[[Snapshot], object]) -> None:
    with connection:
        try:
            while True:
                sink(connection.recv())
        except (EOFError, OSError):
            return
