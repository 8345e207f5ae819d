"""What an MCP server that is a program says, as far as it reaches the worker: whole lines, no requests, no floods.

Runs in the outer process of `tools.child`. The worker starts a task for each request of a server and waits until the
server reads the answer, so that one that asks without end would fill its memory. Servers are offered ``ping`` alone.
"""

from __future__ import annotations

import json
import time
from typing import Any

LONGEST_LINE = 4 * 1024 * 1024
WINDOW_S = 10.0
MOST_EVENTS, MOST_PINGS, MOST_BYTES = 500, 10, 64 * 1024 * 1024
"""Notifications, pings and bytes in ``WINDOW_S``. What is more of the first two is dropped."""


class TooMuch(Exception):
    """The server is to be ended; the message says why."""


class Lines:
    def __init__(self) -> None:
        self._rest = b""
        self._began = time.monotonic()
        self._events = self._pings = self._bytes = 0

    def push(self, chunk: bytes) -> bytes:
        """The lines that are passed on, of what has come so far. Raises TooMuch."""
        self._count(len(chunk))
        *lines, self._rest = (self._rest + chunk).split(b"\n") if b"\n" in chunk else (self._rest + chunk,)
        if len(self._rest) > LONGEST_LINE:
            raise TooMuch(f"a line of more than {LONGEST_LINE} bytes")
        return b"".join(line + b"\n" for line in lines if self._passes(line))

    def _count(self, size: int) -> None:
        now = time.monotonic()
        if now - self._began > WINDOW_S:
            self._began, self._events, self._pings, self._bytes = now, 0, 0, 0
        self._bytes += size
        if self._bytes > MOST_BYTES:
            raise TooMuch(f"more than {MOST_BYTES} bytes in {WINDOW_S:g} s")

    def _passes(self, line: bytes) -> bool:
        if b"method" not in line and b"\\u" not in line:
            return True
        try:
            message: Any = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(message, dict) or "method" not in message:
            return isinstance(message, dict)
        if "id" in message:
            self._pings += 1
            return message["method"] == "ping" and len(line) < 1000 and self._pings <= MOST_PINGS
        self._events += 1
        return self._events <= MOST_EVENTS
