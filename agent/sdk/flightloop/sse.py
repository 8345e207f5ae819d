"""Server-sent events from bytes.

Source: WHATWG HTML, "Server-sent events", section 9.2.6. Lines end with LF, CR or CRLF and nothing else:
the line splitting of str and httpx would also break at U+2028, which JSON may hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a CR at the very end may be half a CRLF: wait for more


@dataclass(frozen=True)
class ServerEvent:
    data: str
    event: str = "message"
    id: str | None = None
    """Given by this event itself, not inherited from an earlier one."""


class SSEDecoder:
    """Push bytes in any pieces, get the events that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    def push(self, chunk: bytes) -> Iterator[ServerEvent]:
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            event = self._line(line.decode("utf-8", errors="replace"))
            if event is not None:
                yield event

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
        self._data, self._event, self._id = [], "", None
        return found
