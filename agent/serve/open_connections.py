"""Limits a server's open connections: at the limit, a new one replaces the one that waits longest for its client."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from agent.serve import open_files

ACCEPTED = 64
"""Connections that the event loop accepts per turn, before it can close any."""
OTHERS = 128 + ACCEPTED
"""Open files reserved for everything else: journal, logs, sockets being accepted."""
MOST = 4096
"""Maximum number of connections even if more files may be open, because each connection uses memory."""


class Connection(Protocol):
    def drop(self) -> None:
        """Closes the connection at once."""
        ...


def most_connections() -> int:
    """Maximum number of client connections, leaving open files for the requests that the front forwards."""
    return max(16, min(MOST, (open_files.limit() - OTHERS) * 2 // 3))


def most_passed_on() -> int:
    """Maximum number of requests forwarded at the same time; other connections remain for stops and probes."""
    return most_connections() // 2


class Connections:
    """Open connections. Above ``most``, closes the one whose client has kept the server waiting longest: with an
    incomplete request, without any, or by not reading its response. A connection whose request is being processed is
    never closed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()

    def opened(self, one: Connection) -> None:
        self._open.add(one)
        self.waits(one)
        if len(self._open) > self._most:
            oldest = next(iter(self._waiting))
            self.closed(oldest)
            oldest.drop()

    def waits(self, one: Connection) -> None:
        """Marks a connection as waiting for its client to send or to read."""
        if one in self._open:
            self._waiting.setdefault(one)

    def answered(self, one: Connection) -> None:
        """Marks a connection as not waiting: the server is processing its request."""
        self._waiting.pop(one, None)

    def closed(self, one: Connection) -> None:
        self._open.discard(one)
        self._waiting.pop(one, None)
