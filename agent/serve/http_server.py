"""Runs an ASGI application on its own socket, inside a running event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import uvicorn

from agent.serve.bounded_http import BoundedHttp, HttpLimits
from agent.serve.open_connections import ACCEPTED, Connections, most_connections
from flightloop.errors import ConfigError

QUEUED = 2048
"""Connections that the kernel queues until they are accepted."""


class _Server(uvicorn.Server):
    """uvicorn server without signal handlers: the program that runs it handles signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int, setting: str = "FLIGHTLOOP") -> socket.socket:
    """Opens a listening socket; port 0 selects a free port.

    Args:
        setting: prefix of the environment variables for ``host`` and ``port``, named in errors.

    Raises:
        ConfigError: the port is taken or needs privileges, or the address is not local.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(QUEUED)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(_why(host, port, error, setting)) from None
    listener.setblocking(False)
    return listener


def _why(host: str, port: int, error: OSError, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{setting}_PORT: port {port} on {host} is taken; set {setting}_PORT (or --port) to a free one"
    if error.errno == errno.EACCES:
        return f"{setting}_PORT: port {port} needs privileges; set {setting}_PORT to a port above 1023"
    return f"{setting}_HOST: cannot listen on {host}:{port} ({error.strerror})"


def address(listener: socket.socket) -> str:
    """Base URL of a listener, or the path of a Unix socket."""
    if listener.family == socket.AF_UNIX:
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def running(
    app: Any,
    listener: socket.socket | None = None,
    *,
    grace_s: int = 5,
    limits: HttpLimits | None = HttpLimits(),  # noqa: B008  (frozen)
) -> AsyncIterator[str]:
    """Serves ``app`` while the context is open and yields its base URL.

    At the end the socket closes and open requests get ``grace_s`` seconds to finish.

    Args:
        limits: limits on requests; None behind the front, which enforces them itself.
    """
    listener = listener or bind("127.0.0.1", 0)
    bounded: Any = limits and partial(BoundedHttp, Connections(most_connections()), limits)
    config = uvicorn.Config(
        app,
        http=bounded or "httptools",
        ws="none",
        backlog=ACCEPTED,
        log_config=None,
        log_level="error",  # a warning per malformed request would let anyone fill the log
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=grace_s,
        server_header=False,
        date_header=limits is not None,  # the front adds its own
        proxy_headers=False,  # a local client must not be able to forge its address
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise ConfigError("the HTTP server ended while it was starting")
            await asyncio.sleep(0.005)
        listener.listen(QUEUED)  # asyncio uses the backlog also as the number of connections accepted per turn
        yield address(listener)
    finally:
        server.should_exit = True
        await task
        listener.close()
