"""Keeps a port reserved for this user while the server on it is restarted."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.serve.http_server import bind
from flightloop.errors import ConfigError

INHERITED = "FLIGHTLOOP_HELD_PORT"
"""Environment variable: descriptor of the socket that this process held before it was re-executed."""


@dataclass(frozen=True)
class HeldPort:
    _socket: socket.socket
    again: bool
    """Whether this process was re-executed and already held the port."""

    def keep_over_exec(self) -> None:
        """Lets the port survive the next ``exec`` of this process."""
        descriptor = os.dup(self._socket.fileno())
        os.set_inheritable(descriptor, True)
        os.environ[INHERITED] = str(descriptor)


@contextmanager
def held_port(host: str, port: int) -> Iterator[HeldPort]:
    """Binds the port without listening, so that other users can't bind it. Connections are refused until a program of
    this user with SO_REUSEPORT, such as Serve's proxy, listens there.

    Raises:
        ConfigError: the port is taken, or a server that did not share it has just ended.
    """
    inherited = os.environ.pop(INHERITED, None)
    if inherited is None:
        bind(host, port).close()
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holding.bind(address)
        except OSError:  # SO_REUSEADDR would help, but then other users could bind it too
            raise ConfigError(
                f"FLIGHTLOOP_PORT: connections to a server that was on port {port} are still closing; "
                "try again in a minute, or set FLIGHTLOOP_PORT (or --port) to another one"
            ) from None
        if inherited is not None:
            os.close(int(inherited))
        yield HeldPort(holding, again=inherited is not None)
