"""Word lists in compact form: a hash of each word, and the lists that it is on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt


class WordList(IntFlag):
    """Lists of words in lower case. Names of several words are on a list word by word."""

    FIRST_NAME = 1
    LAST_NAME = 2
    CITY = 4
    COUNTRY = 8
    """Countries, states and regions."""
    NATIONALITY = 16
    """Nationalities, religions and political groups."""
    COMMON = 32
    """Words that are frequent in lower case."""
    STREET = 64
    ORGANIZATION = 128
    CALENDAR = 256
    TITLE = 512
    COMPANY = 1024
    """Words of organisations' names that are not common."""


@dataclass(frozen=True)
class Lexicon:
    """``words``: sorted uint32 (words,), the hashes. ``lists``: uint16 (words,), a `WordList` each."""

    words: npt.NDArray[np.uint32]
    lists: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, words: Mapping[str, int]) -> Lexicon:
        lists: dict[int, int] = {}
        for word, on in words.items():
            lists[word_hash(word)] = lists.get(word_hash(word), 0) | on
        ordered = sorted(lists)
        return cls(np.array(ordered, np.uint32), np.array([lists[word] for word in ordered], np.uint16))

    def look_up(self, word: str) -> int:
        """The lists that a word in lower case is on; 0: none."""
        wanted = word_hash(word)
        at = int(np.searchsorted(self.words, np.uint32(wanted)))
        return int(self.lists[at]) if at < len(self.words) and self.words[at] == wanted else 0


def word_hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))
