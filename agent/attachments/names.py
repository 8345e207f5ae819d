"""Names of categories or series, and where a text has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST_NAMES, MOST_LENGTH = 400, 200
"""Number of names, and characters of a name, up to which they are known."""


@dataclass(frozen=True)
class Mention:
    """A name that a text has at characters [start, end)."""

    name: str
    start: int
    end: int


class Names:
    """Names that are looked for in texts, as whole words in either case.

    One pattern of all names would be simpler, but it takes seconds for a long text, in which no other thread runs.
    """

    def __init__(self, names: Iterable[str]) -> None:
        found = list(dict.fromkeys(name for name in names if 0 < len(name.strip()) <= MOST_LENGTH))[:MOST_NAMES]
        self._names = {_small(name.strip()): name for name in reversed(found)}
        self._lengths: dict[str, list[int]] = {}
        """Lengths of the names by their first character, longest first."""
        for length, first in sorted({(len(name), name[0]) for name in self._names}, reverse=True):
            self._lengths.setdefault(first, []).append(length)

    def mentions(self, text: str) -> list[Mention]:
        """Names in a text, in order and without overlaps; the longest where several begin."""
        return list(self._mentions(_small(text)))

    def _mentions(self, text: str) -> Iterator[Mention]:
        end = 0
        for start, first in enumerate(text):
            if start < end or first not in self._lengths or (start and _is_word(text[start - 1])):
                continue
            for length in self._lengths[first]:
                name = self._names.get(text[start : start + length])
                if name is not None and not _is_word(text[start + length : start + length + 1]):
                    end = start + length
                    yield Mention(name, start, end)
                    break


def _small(text: str) -> str:
    """A text in lower case with the same length."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
