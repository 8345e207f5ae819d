"""The open connections of a server: their limit, and which one is closed for a new one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from agent.serve import open_files

ACCEPTED = 64
"""Connections that the event loop accepts in one turn, before any of them can be closed."""
OTHERS = 128 + ACCEPTED
"""Open files kept for everything else: the journal, logs, sockets that are being accepted."""
MOST = 4096
"""Upper limit of connections, whatever the limit of open files: each takes memory."""


class Connection(Protocol):
    def drop(self) -> None:
        """Closes it at once."""
        ...


def most_connections() -> int:
    """Connections of callers. Each request that the front passes on takes one more file."""
    return max(16, min(MOST, (open_files.limit() - OTHERS) * 2 // 3))


def most_passed_on() -> int:
    """Requests that the front passes on at a time. The other connections are left for the stop and the probes."""
    return most_connections() // 2


class Connections:
    """Above ``most``, closes the connection whose client has kept the server waiting for longest: by an incomplete
    request, by none, or by not reading its answer. Requests that are being answered are left alone.
    """

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
        """It is the client's turn: to send, or to read."""
        if one in self._open:
            self._waiting.setdefault(one)

    def answered(self, one: Connection) -> None:
        """It is the server's turn."""
        self._waiting.pop(one, None)

    def closed(self, one: Connection) -> None:
        self._open.discard(one)
        self._waiting.pop(one, None)
