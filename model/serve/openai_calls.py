"""Parses tool calls from an answer while it streams."""

from __future__ import annotations

import json
from uuid import uuid4

import regex

from flightloop.chat import FunctionDelta, ToolCallDelta
from model.chat.calls import COMPACT, CallFormat

_OBJECT = r'\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\S)'


class CallReader:
    """Splits an answer, which is text or calls, into text and call deltas.

    The first delta of a call has its index, id and name; its arguments follow as they arrive.

    Args:
        calls: how the model writes calls.
        held: whether a grammar constrains the answer. Without one, ``finish`` returns text that only began like a call.
    """

    def __init__(self, calls: CallFormat = COMPACT, *, held: bool = True) -> None:
        self._held = held
        self._marks = {marks.open.strip(): marks.close.strip() for marks in calls.marks}
        named = "|".join(regex.escape(text) for text in self._marks if text)
        missing = "?" if "" in self._marks else ""
        between = "|".join(regex.escape(text) for pair in self._marks.items() for text in pair if text)
        self._first = regex.compile(rf"\s*(?P<open>{named}){missing}\s*(?P<list>\[)?\s*{_OBJECT}")
        self._next = regex.compile(rf"(?:[\s,}}\]\[]|{between})*{_OBJECT}")
        self._buffer = ""
        self._read = self._undecided
        self._close = ""  # what ends the calls, apart from the last call's bracket
        self._calls = 0
        self._depth = 0
        self._in_string = self._escaped = False

    @property
    def complete(self) -> bool:
        """Whether all that was begun is complete."""
        rest = "".join(self._buffer.split())
        return self._calls > 0 and self._read == self._head and rest.startswith("}") and rest.endswith(self._close)

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
        if self._calls or (self._held and self._read != self._undecided):
            return ""
        text, self._buffer = self._buffer, ""
        return text

    # Each method below consumes a part of the buffer, and returns None if it needs more text.

    def _undecided(self) -> str | ToolCallDelta | None:
        match = self._first.match(self._buffer, partial=True)
        if match is not None and match.partial:
            return None
        if match is not None:
            opened = match["open"] or ""
            self._close = self._marks[opened] or ("]" if match["list"] else "")
            return self._begun(match)
        # Behind a mark that is no ordinary text, whatever follows is held until the end.
        marked = any(text.startswith("<") and self._buffer.lstrip().startswith(text) for text in self._marks if text)
        self._read = self._head if marked else self._text
        return self._read()

    def _text(self) -> str | ToolCallDelta | None:
        text, self._buffer = self._buffer, ""
        return text or None

    def _head(self) -> str | ToolCallDelta | None:
        match = self._next.match(self._buffer)
        return None if match is None else self._begun(match)

    def _begun(self, match: regex.Match[str]) -> ToolCallDelta:
        self._buffer = self._buffer[match.end() :]
        self._read = self._arguments
        index, self._calls = self._calls, self._calls + 1
        function = FunctionDelta(name=json.loads(match["name"]), arguments="")
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
