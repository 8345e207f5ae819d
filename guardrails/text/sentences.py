"""Sentences of a text with their places."""

from __future__ import annotations

from collections.abc import Iterable

import regex

_END = regex.compile(r"(?<=[.!?。！？])[\"')\]*_]*\s+|\n+|(?<=[。！？])")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Begin and end of each sentence; blanks and line breaks after it belong to it. Empty texts have none."""
    ends = [match.end() for match in _END.finditer(text) if match.end() < len(text)]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(text)], strict=True) if text[start:end].strip()]


def without_sentences(text: str, places: Iterable[tuple[int, int]]) -> str:
    """The text without the sentences that overlap one of the places."""
    gone = list(places)
    kept = [
        text[start:end]
        for start, end in sentence_spans(text)
        if not any(start < last and first < end for first, last in gone)
    ]
    return "".join(kept).strip()
