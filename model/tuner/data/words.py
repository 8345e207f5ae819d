"""Texts as the words that are compared: what rows have in common with each other and with what is measured."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 128
GRAM = 8
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Words and numbers, without case, accents and signs."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return _WORD.findall("".join(sign for sign in plain if not unicodedata.combining(sign)))


def grams(words: Sequence[str], size: int = GRAM) -> set[tuple[str, ...]]:
    """All runs of ``size`` words; none where there are fewer words."""
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def shingles(words: Sequence[str]) -> set[str]:
    """Words and pairs of neighbours: short texts have enough of them to be compared, and order counts."""
    return {*words, *(" ".join(pair) for pair in pairwise(words))}


def min_hash(parts: Iterable[str]) -> MinHash:
    """The sketch of a set. The share of equal hashes of two sketches estimates the sets' Jaccard similarity."""
    sketch = MinHash(num_perm=PERMUTATIONS)
    sketch.update_batch([part.encode() for part in parts])
    return sketch


def index(similar: float) -> MinHashLSH:
    """Where sketches are looked up that resemble one.

    Sketches are compared in bands of hashes, all of which must be equal in one. Bands are so short that of 1,000 pairs
    as similar as is asked, fewer than 10 are not found; what is found has to be compared.

    Args:
        similar: least Jaccard similarity that is asked for, 0.65 to 1.
    """
    length = 8 if similar >= 0.85 else 4
    return MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // length, length))
