"""Text of a growing answer: releases whole characters, and nothing that may become part of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from model.engine.vocabulary import Detokenizer


class TextStream:
    """Converts tokens to text, and releases the part that is final.

    Args:
        detokenizer: a new one, for this stream only.
        stops: the text ends before the first of these, regardless of token boundaries.
    """

    def __init__(self, detokenizer: Detokenizer, stops: Sequence[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Adds a token and returns the text that it releases."""
        return self.feed(self._detokenizer.push(token))

    def feed(self, text: str) -> str:
        """Adds text and returns the part that is final; empty after ``stopped``."""
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
        """Returns the text held back for a possible stop text. Drops an unfinished character."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of ``text`` that is a proper prefix of ``stop``."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
