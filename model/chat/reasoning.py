"""Reasoning that a model writes before its answer, between ``<think>`` and ``</think>`` (DeepSeek-R1, Qwen3)."""

from __future__ import annotations

from enum import Enum, auto

OPEN, CLOSE = "<think>", "</think>"


class _Part(Enum):
    START = auto()
    REASONING = auto()
    BETWEEN = auto()
    TEXT = auto()


class ReasoningReader:
    """Splits an answer into reasoning and text while it streams.

    Args:
        begun: whether the prompt ends with the opening tag, so that the answer begins within the reasoning.
        held: whether a grammar constrains the answer, which then may begin with a call or JSON nevertheless.
    """

    def __init__(self, *, begun: bool, held: bool) -> None:
        self._begun, self._held = begun, held
        self._buffer = ""
        self._part = _Part.START

    def push(self, text: str) -> tuple[str, str]:
        """Adds a piece of the answer; returns the reasoning and the text that are certain now."""
        self._buffer += text
        reasoning = ""
        if self._part is _Part.START:
            self._start()
        if self._part is _Part.REASONING:
            reasoning = self._reasoning()
        if self._part is _Part.BETWEEN:
            self._buffer = self._buffer.lstrip()
            self._part = _Part.TEXT if self._buffer else _Part.BETWEEN
        if self._part is not _Part.TEXT:
            return reasoning, ""
        plain, self._buffer = self._buffer, ""
        return reasoning, plain

    def finish(self) -> tuple[str, str]:
        """The text that was held back, as reasoning or as text."""
        rest, self._buffer = self._buffer, ""
        return (rest, "") if self._part is _Part.REASONING else ("", rest)

    def _start(self) -> None:
        begin = self._buffer.lstrip()
        if begin.startswith(OPEN):
            self._buffer, self._part = begin[len(OPEN) :].lstrip("\n"), _Part.REASONING
        elif not OPEN.startswith(begin):  # which an empty or a partial tag does
            structured = self._held and begin[0] in "{[<`"
            self._part = _Part.REASONING if self._begun and not structured else _Part.TEXT

    def _reasoning(self) -> str:
        reasoning, found, rest = self._buffer.partition(CLOSE)
        if found:
            self._buffer, self._part = rest, _Part.BETWEEN
            return reasoning
        held = next((size for size in range(len(CLOSE) - 1, 0, -1) if self._buffer.endswith(CLOSE[:size])), 0)
        reasoning = self._buffer[: len(self._buffer) - held]
        self._buffer = self._buffer[len(reasoning) :]
        return reasoning
