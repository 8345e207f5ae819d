"""Detects answers that repeat themselves endlessly."""

from __future__ import annotations

import re
from collections.abc import Iterator

REPEATED = "it repeated the same words over and over"
PENALTY = 0.5
"""Frequency penalty of the second attempt: after some ten repetitions another token is more likely."""
_UNIT = 120
"""Maximum characters of a repeated unit."""
_TIMES, _CHARACTERS = 6, 120
"""Minimum number and total characters of repetitions. ``_SIGNS``: minimum characters if units are only punctuation."""
_SIGNS = 480
_DIGITS = re.compile(r"\d{96}|\d*+(?:[ -]\d{4,}+){24}")
"""More digits, in a row or in groups, than any number or code has. Matched at the start of the reversed text, because a
search from every position would take quadratic time."""
_LAST = 8
"""Length of the text's last part, whose earlier occurrences give the possible lengths of a repeated unit."""
_EVERY = 24
"""New characters between two checks."""
_KEPT = max(_UNIT * _TIMES, _SIGNS) + _EVERY


class Repeats(Exception):
    """The answer repeats itself.

    Attributes:
        before: the part of the last piece up to the detection.
    """

    def __init__(self, before: str) -> None:
        super().__init__(REPEATED)
        self.before = before


class Repetition:
    """Detector of repetition: ``push`` the pieces of an answer, of any length."""

    def __init__(self) -> None:
        self._tail = ""
        self._new = 0

    def push(self, text: str) -> None:
        """Adds a piece. Raises Repeats if the answer repeats itself."""
        for start in range(0, len(text), _EVERY):
            piece = text[start : start + _EVERY]
            self._tail = (self._tail + piece)[-_KEPT:]
            self._new += len(piece)
            if self._new >= _EVERY:
                self._new = 0
                if repeats(self._tail):
                    raise Repeats(text[: start + len(piece)])


def repeats(text: str) -> bool:
    """Whether a text ends with the same words over and over, or with endless digits."""
    return _DIGITS.match(text[::-1]) is not None or any(_ends_with(text, length) for length in _lengths(text))


def _lengths(text: str) -> Iterator[int]:
    """Lengths of units that may repeat at the end: distances to earlier occurrences of the last characters."""
    last, end = text[-_LAST:], len(text)
    while (at := text.rfind(last, max(0, len(text) - _LAST - _UNIT), end - 1)) >= 0:
        yield len(text) - _LAST - at
        end = at + _LAST


def _ends_with(text: str, length: int) -> bool:
    """Whether the text ends with enough repetitions of its last ``length`` characters."""
    unit = text[-length:]
    least = _CHARACTERS if any(map(str.isalnum, unit)) else _SIGNS
    span = max(least, _TIMES * length)
    return len(text) >= span and text[-span:-length] == text[-span + length :]
