"""Splits texts into words and compares them: rows with each other, and with benchmarks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 128
GRAM = 8
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")
_IS_HAN = re.compile(f"[{_HAN}]")
CHARACTERS = 3
"""Chinese has no spaces: this many characters count as a word, from each character on. A run of `GRAM` words then has
ten characters."""


def words_of(text: str) -> list[str]:
    """Words and numbers in lower case, without accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    found = _WORD.findall("".join(sign for sign in plain if not unicodedata.combining(sign)))
    return [word for each in found for word in (_chinese(each) if _IS_HAN.match(each) else [each])]


def _chinese(text: str) -> list[str]:
    return [text[at : at + CHARACTERS] for at in range(max(1, len(text) - CHARACTERS + 1))]


def grams(words: Sequence[str], size: int = GRAM) -> set[tuple[str, ...]]:
    """All runs of ``size`` words; empty for shorter texts."""
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def shingles(words: Sequence[str]) -> set[str]:
    """Words and pairs of adjacent words: enough parts to compare short texts, sensitive to word order."""
    return {*words, *(" ".join(pair) for pair in pairwise(words))}


def min_hash(parts: Iterable[str]) -> MinHash:
    """MinHash of a set. The share of equal hashes of two sketches estimates the sets' Jaccard similarity."""
    sketch = MinHash(num_perm=PERMUTATIONS)
    sketch.update_batch([part.encode() for part in parts])
    return sketch


def index(similar: float) -> MinHashLSH:
    """Index of sketches, to find similar ones.

    Sketches are compared in bands of hashes; a match needs one equal band. Bands are so short that fewer than 10 of
    1,000 pairs with the given similarity are missed. Matches must be compared afterwards.

    Args:
        similar: minimum Jaccard similarity to find, 0.65 to 1.
    """
    length = 8 if similar >= 0.85 else 4
    return MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // length, length))
