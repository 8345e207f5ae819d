"""The connections of one server: how many there may be, and which of them goes when another one comes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from agent import open_files

ACCEPTED = 64
"""Connections that an event loop accepts before it looks at any of them."""
OTHERS = 128 + ACCEPTED
"""Open files that are no connections of callers: the journal, logs, sockets that are being accepted."""
MOST = 4096
"""Connections, however many files may be open: each has some memory of its own."""


class Connection(Protocol):
    def drop(self) -> None:
        """Closes it at once."""
        ...


def most_connections() -> int:
    """Of callers. Half as many requests may be passed on, each over a connection of its own."""
    return max(16, min(MOST, (open_files.limit() - OTHERS) * 2 // 3))


def most_passed_on() -> int:
    """Requests that the front has passed on, at a time: the rest of the connections is for the stop and the probes."""
    return most_connections() // 2


class Connections:
    """Above ``most`` the connection goes that has kept the server waiting for longest: with half a request, with none,
    or with an answer that it does not read. None goes whose request is being answered.
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
        """The client has to do something: send, or read."""
        if one in self._open:
            self._waiting.setdefault(one)

    def answered(self, one: Connection) -> None:
        """The server has to do something."""
        self._waiting.pop(one, None)

    def closed(self, one: Connection) -> None:
        self._open.discard(one)
        self._waiting.pop(one, None)
