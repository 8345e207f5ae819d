"""Parses tool calls from an answer while it streams."""

from __future__ import annotations

import json
import re
from uuid import uuid4

from flightloop.chat import FunctionDelta, ToolCallDelta
from model.prompt import CALL_CLOSE, CALL_OPEN

_HEAD = re.compile(r'[\[}\],\s]*\{"name": ("(?:[^"\\]|\\.)*"), "arguments": ')


class CallReader:
    """Splits an answer, which is text or `<tool_call>[...]</tool_call>`, into text and call deltas.

    The first delta of a call has its index, id and name; its arguments follow as they arrive. The grammar
    guarantees the layout (``model.engine.grammar``).

    Args:
        held: whether a grammar constrains the answer. Without one, ``finish`` returns text that only began like a call.
    """

    def __init__(self, *, held: bool = True) -> None:
        self._held = held
        self._buffer = ""
        self._read = self._undecided
        self._calls = 0
        self._depth = 0
        self._in_string = self._escaped = False

    @property
    def complete(self) -> bool:
        """Whether the list of calls is complete."""
        return self._calls > 0 and self._read == self._head and self._buffer.endswith(CALL_CLOSE)

    def push(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """Adds a piece of the answer; returns its text or its call deltas, and an empty value for the other."""
        self._buffer += text
        plain, deltas = "", list[ToolCallDelta]()
        while True:
            step = self._read()
            if step is None:
                return plain, deltas
            if isinstance(step, str):
                plain += step
            elif step.function.arguments or step.id:
                deltas.append(step)

    def finish(self) -> str:
        """Returns the text that was held back because it could have begun a call."""
        if self._read == self._head and not self._held and not self._calls:
            self._buffer = CALL_OPEN + self._buffer
        elif self._read != self._undecided:
            return ""
        text, self._buffer = self._buffer, ""
        return text

    # Each method below consumes a part of the buffer, and returns None if it needs more text.

    def _undecided(self) -> str | ToolCallDelta | None:
        if self._buffer.startswith(CALL_OPEN):
            self._buffer = self._buffer[len(CALL_OPEN) :]
            self._read = self._head
        elif not CALL_OPEN.startswith(self._buffer):
            self._read = self._text
        return self._read() if self._read != self._undecided else None

    def _text(self) -> str | ToolCallDelta | None:
        text, self._buffer = self._buffer, ""
        return text or None

    def _head(self) -> str | ToolCallDelta | None:
        match = _HEAD.match(self._buffer)
        if match is None:
            return None
        self._buffer = self._buffer[match.end() :]
        self._read = self._arguments
        index, self._calls = self._calls, self._calls + 1
        name = json.loads(match[1])
        function = FunctionDelta(name=name, arguments="")
        return ToolCallDelta(index=index, id=f"call_{uuid4().hex[:24]}", type="function", function=function)

    def _arguments(self) -> str | ToolCallDelta | None:
        if not self._buffer:
            return None
        size = next((place for place, sign in enumerate(self._buffer, 1) if self._ends(sign)), None)
        if size is not None:
            self._read = self._head
        part = self._buffer[:size]
        self._buffer = self._buffer[len(part) :]
        return ToolCallDelta(index=self._calls - 1, function=FunctionDelta(arguments=part))

    def _ends(self, sign: str) -> bool:
        """Whether the arguments' outermost bracket closes with this character."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif sign == "\\":
                self._escaped = True
            elif sign == '"':
                self._in_string = False
            return False
        if sign == '"':
            self._in_string = True
        elif sign in "{[":
            self._depth += 1
        elif sign in "}]":
            self._depth -= 1
            return self._depth == 0
        return False
