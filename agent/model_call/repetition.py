"""An answer that repeats itself and leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

REPEATED = "it repeated the same words over and over"
PENALTY = 0.5
"""Frequency penalty of the second try: after some ten repetitions another token is likelier."""
_UNIT = 120
"""Characters of what is repeated, at most."""
_TIMES, _CHARACTERS = 6, 120
"""So often and for so long it has to be repeated. A ruler or a table's line is no repetition: signs alone need more."""
_SIGNS = 480
_DIGITS = re.compile(r"\d{96}|\d*+(?:[ -]\d{4,}+){24}")
"""More digits in a row, or in groups, than any number or code has: at a text's end, read from there back, since from
each beginning of a number it would take the square of its length."""
_LAST = 8
"""Characters of an end that are looked for before it: what is repeated has them in each repetition."""
_EVERY = 24
"""New characters between two looks."""
_KEPT = max(_UNIT * _TIMES, _SIGNS) + _EVERY


class Repeats(Exception):
    """The answer goes round in circles.

    Attributes:
        before: what of the pushed text came before that was seen.
    """

    def __init__(self, before: str) -> None:
        super().__init__(REPEATED)
        self.before = before


class Repetition:
    """``push`` pieces of an answer, whatever their length."""

    def __init__(self) -> None:
        self._tail = ""
        self._new = 0

    def push(self, text: str) -> None:
        """Raises Repeats."""
        for start in range(0, len(text), _EVERY):
            piece = text[start : start + _EVERY]
            self._tail = (self._tail + piece)[-_KEPT:]
            self._new += len(piece)
            if self._new >= _EVERY:
                self._new = 0
                if repeats(self._tail):
                    raise Repeats(text[: start + len(piece)])


def repeats(text: str) -> bool:
    """Whether a text ends with the same few words again and again, or with digits without end."""
    return _DIGITS.match(text[::-1]) is not None or any(_ends_with(text, length) for length in _lengths(text))


def _lengths(text: str) -> Iterator[int]:
    """Of units that may be repeated at a text's end: from one to the next place where its last characters stand."""
    last, end = text[-_LAST:], len(text)
    while (at := text.rfind(last, max(0, len(text) - _LAST - _UNIT), end - 1)) >= 0:
        yield len(text) - _LAST - at
        end = at + _LAST


def _ends_with(text: str, length: int) -> bool:
    """Whether a unit of ``length`` characters is repeated at a text's end, long enough."""
    unit = text[-length:]
    least = _CHARACTERS if any(map(str.isalnum, unit)) else _SIGNS
    span = max(least, _TIMES * length)
    return len(text) >= span and text[-span:-length] == text[-span + length :]
