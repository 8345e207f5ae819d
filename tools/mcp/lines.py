"""Limits what a local MCP server sends to the worker: complete lines, no requests except pings, no floods.

Runs in the outer process of `tools.child`. The worker starts a task for each request of a server and waits until the
server reads the answer, so endless requests would fill its memory. The only request that servers may make is ``ping``.
"""

from __future__ import annotations

import json
import time
from typing import Any

LONGEST_LINE = 2 * 1024 * 1024
WINDOW_S = 10.0
MOST_EVENTS, MOST_PINGS = 500, 10
"""Maximum number of notifications and pings in ``WINDOW_S``; more are dropped."""
MOST_LINES, MOST_BYTES = 2000, 8 * 1024 * 1024
"""Maximum number of lines and bytes in ``WINDOW_S``; a server that sends more is stopped."""


class TooMuch(Exception):
    """The server exceeded a limit and has to be stopped; the message states the limit."""


class Flow:
    """Counts the bytes and lines of a server's output. Raises TooMuch."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bytes = self._lines = 0

    def count(self, chunk: bytes) -> None:
        now = time.monotonic()
        if now - self._began > WINDOW_S:
            self._began = now
            self._bytes = self._lines = 0
        self._bytes += len(chunk)
        self._lines += max(chunk.count(b"\n"), chunk.count(b"\r"))  # each ends a line in an event stream
        if self._bytes > MOST_BYTES or self._lines > MOST_LINES:
            raise TooMuch(f"the server sent more than {MOST_BYTES} bytes or {MOST_LINES} lines in {WINDOW_S:g} s")


class Lines:
    def __init__(self) -> None:
        self._rest = b""
        self._flow = Flow()
        self._counted_from = time.monotonic()
        self._events = self._pings = 0

    def push(self, chunk: bytes) -> bytes:
        """Adds received bytes. Returns the complete lines to pass on. Raises TooMuch."""
        self._flow.count(chunk)
        if time.monotonic() - self._counted_from > WINDOW_S:
            self._counted_from = time.monotonic()
            self._events = self._pings = 0
        *lines, self._rest = (self._rest + chunk).split(b"\n") if b"\n" in chunk else (self._rest + chunk,)
        if len(self._rest) > LONGEST_LINE:
            raise TooMuch(f"the server sent a line of more than {LONGEST_LINE} bytes")
        return b"".join(line + b"\n" for line in lines if self._passes(line))

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
