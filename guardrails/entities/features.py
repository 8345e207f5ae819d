"""Hashed features of tokens: the word, its shape, its lists, and those of its neighbours."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import regex

from guardrails.entities.lexicon import Lexicon

BUCKETS = 1 << 16
WINDOW = 3
"""Tokens on each side whose properties are features."""
WORD, SHAPE, SUFFIX_3, SUFFIX_2, PREFIX_3, LISTS, KIND, STYLE = range(8)
COLUMNS = 8
"""Properties of a token, as columns of a matrix."""
Columns = npt.NDArray[np.uint32]
Buckets = npt.NDArray[np.uint16]

_NONE = (0, 0)
_TERMS: tuple[tuple[tuple[int, int], ...], ...] = (
    *(((0, column),) for column in (WORD, SHAPE, SUFFIX_3, SUFFIX_2, PREFIX_3, LISTS)),
    *(((at, WORD),) for at in (-3, -2, -1, 1, 2)),
    *(((at, LISTS),) for at in (-2, -1, 1, 2)),
    *(((at, SHAPE),) for at in (-2, -1, 1, 2)),
    ((-1, SUFFIX_3),),
    ((1, SUFFIX_3),),
    ((0, SHAPE), (0, LISTS)),
    ((0, SHAPE), (0, STYLE)),
    ((0, LISTS), (0, STYLE)),
    ((-1, LISTS), (0, LISTS)),
    ((0, LISTS), (1, LISTS)),
    ((-1, SHAPE), (0, SHAPE)),
    ((0, SHAPE), (1, SHAPE)),
    ((-1, WORD), (0, SHAPE)),
    ((-1, WORD), (0, LISTS)),
    ((1, WORD), (0, SHAPE)),
    ((1, WORD), (0, LISTS)),
    ((-1, WORD), (0, WORD)),
    ((0, WORD), (1, WORD)),
    ((-2, WORD), (-1, WORD)),
    ((1, WORD), (2, WORD)),
    ((-2, WORD), (0, SHAPE)),
    ((2, WORD), (0, SHAPE)),
    ((-2, KIND), (-1, WORD), (0, SHAPE)),
    ((-1, LISTS), (0, LISTS), (1, LISTS)),
    ((-1, SHAPE), (0, SHAPE), (1, SHAPE)),
    ((-3, WORD), (0, KIND)),
    ((3, WORD), (0, KIND)),
)
TERMS = len(_TERMS)
_OFFSETS = np.array([[part[0] for part in (*term, _NONE, _NONE)[:3]] for term in _TERMS])
_COLUMNS = np.array([[part[1] for part in (*term, _NONE, _NONE)[:3]] for term in _TERMS])
_USED = np.array([[1 if place < len(term) else 0 for place in range(3)] for term in _TERMS], np.uint32)
_SALTS = np.array([zlib.crc32(repr(term).encode()) for term in _TERMS], np.uint32)
_REPEATED = regex.compile(r"(.)\1+")
_STYLES = {"mixed": 1, "lower": 2, "upper": 3}
MOST_WORDS = 50_000


@dataclass(frozen=True)
class WordColumns:
    """Properties of words, cached by word."""

    lexicon: Lexicon
    _known: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def of(self, words: Sequence[str]) -> Columns:
        """Properties of a segment's tokens, between ``WINDOW`` empty rows. Shape (2 * WINDOW + words, COLUMNS)."""
        rows = [self._of_word(word) for word in words]
        matrix = np.zeros((len(rows) + 2 * WINDOW, COLUMNS), np.uint32)
        if rows:
            inner = matrix[WINDOW:-WINDOW]
            inner[:, :STYLE] = rows
            inner[:, STYLE] = _STYLES[_style(words)] * 8
            inner[0, STYLE] += 1
        return matrix

    def _of_word(self, word: str) -> tuple[int, ...]:
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= MOST_WORDS:
                self._known.clear()
            found = self._known[word] = self._compute(word)
        return found

    def _compute(self, word: str) -> tuple[int, ...]:
        lower = word.lower()
        plain = lower if not lower[:1].isdigit() or len(lower) <= 2 else regex.sub(r"\d", "0", lower)
        texts = (plain, _shape(word), lower[-3:], lower[-2:], lower[:3])
        hashes = [zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts]
        return (*hashes, self.lexicon.look_up(lower) + 1, _kind(word))


def buckets(matrix: Columns) -> Buckets:
    """Buckets of the features of each token in a matrix of `WordColumns.of`. Shape (tokens, TERMS)."""
    count = len(matrix) - 2 * WINDOW
    places = np.arange(count)[:, None] + WINDOW
    mixed = np.broadcast_to(_SALTS, (count, TERMS)).copy()
    for place, factor in enumerate((0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35)):
        value = matrix[places + _OFFSETS[:, place], _COLUMNS[:, place]] * _USED[:, place]
        mixed = (mixed ^ value) * np.uint32(factor)
        mixed ^= mixed >> np.uint32(15)
    return (mixed & np.uint32(BUCKETS - 1)).astype(np.uint16)


def _shape(word: str) -> str:
    signs = "".join(
        "X" if sign.isupper() else "x" if sign.islower() else "d" if sign.isdigit() else "c" if sign.isalpha() else sign
        for sign in word[:24]
    )
    if "d" in signs:
        return signs[:12]
    return _REPEATED.sub(r"\1\1", signs) if len(signs) > 1 else signs


def _kind(word: str) -> int:
    first = word[:1]
    if first == "\n":
        return 1
    if first.isdigit():
        return 2
    if not first.isalpha():
        return 3
    if word.isupper():
        return 4 if len(word) > 1 else 5
    return 6 if first.isupper() else 7


def _style(words: Sequence[str]) -> str:
    letters = [word for word in words if word[:1].isalpha()]
    capitals = sum(word[:1].isupper() for word in letters)
    if not capitals:
        return "lower"
    return "upper" if sum(map(str.isupper, letters)) > len(letters) * 0.7 else "mixed"
