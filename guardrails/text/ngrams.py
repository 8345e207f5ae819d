"""Hashed n-grams of words and characters: the features of the linear content classifier.

The hash table has 2**18 buckets.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import regex

BUCKETS = 1 << 18
CHARACTER_SIZES = (3, 4, 5)
_WORD = regex.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")
_NOISE = regex.compile(r"https?://\S+|www\.\S+|@\w+|&#?\w+;|\brt\b", regex.IGNORECASE)
_REPEATED = regex.compile(r"(.)\1{2,}")

Indices = npt.NDArray[np.uint32]


def prepare(text: str) -> str:
    """Lower-cases a text and removes links, handles and HTML entities, which reveal its source, not its meaning."""
    return _REPEATED.sub(r"\1\1", " ".join(_NOISE.sub(" ", text).lower().split()))


def features(text: str) -> Indices:
    """Sorted distinct buckets of a text's n-grams. Shape (n,), values below ``BUCKETS``."""
    clean = prepare(text)
    return np.unique(np.concatenate([_words(clean), *_characters(clean)]) % BUCKETS)


def windows(text: str, size: int = 280, stride: int = 200) -> Iterator[str]:
    """Overlapping pieces, about as long as the classifier's training texts."""
    for start in range(0, max(1, len(text) - size + stride), stride):
        yield text[start : start + size]


def _words(clean: str) -> Indices:
    hashes = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(clean)], dtype=np.uint32)
    pairs = hashes[:-1] * np.uint32(0x9E3779B1) ^ hashes[1:]
    return _mixed(np.concatenate([hashes, pairs]))


def _characters(clean: str) -> Iterator[Indices]:
    codes = np.frombuffer(f" {clean} ".encode("utf-32-le"), dtype=np.uint32)
    for size in CHARACTER_SIZES:
        total = np.full(max(0, len(codes) - size + 1), size, dtype=np.uint32)
        for offset in range(size if len(total) else 0):
            total = total * np.uint32(0x01000193) + codes[offset : offset + len(total)]
        yield _mixed(total)


def _mixed(values: Indices) -> Indices:
    values = values ^ (values >> np.uint32(15))
    values = values * np.uint32(0x85EBCA6B)
    mixed: Indices = values ^ (values >> np.uint32(13))
    return mixed
