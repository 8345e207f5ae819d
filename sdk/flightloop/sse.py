"""Decodes server-sent events from bytes.

Source: WHATWG HTML, "Server-sent events", section 9.2.6. Lines end with LF, CR or CRLF only. The line splitting of str
and httpx would also break at U+2028, which JSON may contain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a CR at the very end may be the first half of a CRLF


class EventTooLong(ValueError):
    """An event exceeds the reader's limit."""


@dataclass(frozen=True)
class ServerEvent:
    data: str
    event: str = "message"
    id: str | None = None
    """Set by this event itself, not inherited from an earlier one."""


class SSEDecoder:
    """Incremental decoder: push bytes in pieces of any size to get the events that they complete.

    Args:
        most: maximum bytes of an event; None: no limit.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._size = 0
        self._rest = bytearray()
        self._cr = b""
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    def push(self, chunk: bytes) -> Iterator[ServerEvent]:
        """Adds bytes and yields completed events; searches only the new bytes. Raises EventTooLong."""
        *lines, rest = _LINE_END.split(self._cr + chunk)
        self._cr = rest[-1:] if rest.endswith(b"\r") else b""
        for line in lines:
            self._grow(line)
            whole, self._rest = self._rest, bytearray()
            event = self._line(whole.decode("utf-8", errors="replace"))
            if event is not None:
                yield event
        self._grow(rest.removesuffix(b"\r"))

    def _grow(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._most is not None and self._size > self._most:
            raise EventTooLong(f"an event of more than {self._most} bytes")
        self._rest += piece

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        found = ServerEvent("\n".join(self._data), self._event or "message", self._id) if self._data else None
        self._data, self._event, self._id, self._size = [], "", None, 0
        return found
