"""A port that stays this user's while what listens there ends and is started again."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.serve.http_server import bind

INHERITED = "FLIGHTLOOP_HELD_PORT"
"""Descriptor of the socket that this process had before it was executed anew."""


@dataclass(frozen=True)
class HeldPort:
    _socket: socket.socket
    again: bool
    """This process was executed anew, and had the port before."""

    def keep_over_exec(self) -> None:
        """The program that is executed in this process holds the port from its beginning on."""
        descriptor = os.dup(self._socket.fileno())
        os.set_inheritable(descriptor, True)
        os.environ[INHERITED] = str(descriptor)


@contextmanager
def held_port(host: str, port: int) -> Iterator[HeldPort]:
    """Binds the port without listening, so that other users can't bind it. Connections are refused, until a program of
    this user that sets SO_REUSEPORT, as Serve's proxy does, listens there.

    Raises:
        ConfigError: somebody has it.
    """
    inherited = os.environ.pop(INHERITED, None)
    if inherited is None:
        bind(host, port).close()
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holding.bind(address)
        if inherited is not None:
            os.close(int(inherited))
        yield HeldPort(holding, again=inherited is not None)
