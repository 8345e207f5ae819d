"""Text of a growing answer: releases whole characters, and nothing that may become part of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from model.engine.vocabulary import Detokenizer


class TextStream:
    """Releases text that is final.

    Args:
        detokenizer: a fresh one.
        stops: the text ends before the first of these, regardless of token boundaries.
    """

    def __init__(self, detokenizer: Detokenizer, stops: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that this token releases."""
        return self.feed(self._detokenizer.push(token))

    def feed(self, text: str) -> str:
        """The text that a piece of text releases; nothing after ``stopped``."""
        if self.stopped:
            return ""
        held = self._held + text
        found = [place for place in map(held.find, self._stops) if place >= 0]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """The text held back for a possible stop text. An unfinished character is dropped."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that ``stop`` begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
