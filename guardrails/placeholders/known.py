"""Known values, looked for wherever they stand in a text."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import regex

from guardrails.finders.pattern import Finding
from guardrails.text.words import LETTER, UNSPACED

LEAST = 4
"""Fewest characters of a beginning that is looked for."""
_LONGEST = 80
"""Longest beginning of a value that is looked for where a text was cut."""
_CUT = "…"
"""Sign at which the platform cuts long texts, perhaps in the middle of a value."""
_NEW = 64
"""Values that are looked for apart until they are this many, since preparing a search takes long for many values."""
_UNSPACED = f"[{UNSPACED}]"
"""A word may end at any of these letters."""


class Known:
    """Values and their kinds, searched for as whole words."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._new: dict[str, None] = {}
        self._search: regex.Pattern[str] | None = None
        self._search_new: regex.Pattern[str] | None = None
        self._begun: dict[str, str] | None = None
        """Kinds of the values' beginnings."""

    def copy(self) -> Known:
        other = copy(self)
        other._kinds, other._new, other._begun = dict(self._kinds), dict(self._new), None
        return other

    def add(self, value: str, kind: str) -> None:
        if value not in self._kinds:
            self._new[value] = None
        self._kinds[value] = kind
        self._search_new = None
        if self._begun is not None:
            self._begun |= _beginnings(value, kind)
        if len(self._new) >= max(_NEW, len(self._kinds) // 16):
            self._new, self._search = {}, None

    def add_all(self, other: Known) -> None:
        self._kinds |= other._kinds
        self._new, self._search, self._search_new, self._begun = {}, None, None, None

    def occurrences(self, text: str) -> Iterator[Finding]:
        """From the left, the longest known value at each place, without overlaps."""
        if self._search is None and len(self._kinds) > len(self._new):
            self._search = _search([value for value in self._kinds if value not in self._new])
        if self._search_new is None and self._new:
            self._search_new = _search(list(self._new))
        ends: dict[int, int] = {}
        for search in (self._search, self._search_new if self._new else None):
            for match in search.finditer(text, overlapped=True) if search is not None else ():
                ends[match.start()] = max(match.end(), ends.get(match.start(), 0))
        at = 0
        for start, end in sorted(ends.items()):
            if start >= at:
                yield Finding(start, end, self._kinds[text[start:end]])
                at = end

    def cut_short(self, text: str) -> Iterator[Finding]:
        """Beginnings of known values at which a text was cut. Reads each character once, whoever wrote it."""
        before, end = -1, text.find(_CUT)
        if end >= 0 and self._begun is None:
            self._begun = {}
            for value, kind in self._kinds.items():
                self._begun |= _beginnings(value, kind)
        while end >= 0 and self._begun:
            for start in range(max(before + 1, end - _LONGEST), end - LEAST + 1):
                if (found := self._begun.get(text[start:end])) is not None:
                    yield Finding(start, end, found)
                    break
            before, end = end, text.find(_CUT, end + 1)


def _beginnings(value: str, kind: str) -> dict[str, str]:
    return {value[:length]: kind for length in range(LEAST, min(len(value), _LONGEST))}


def _search(values: list[str]) -> regex.Pattern[str]:
    return regex.compile(
        rf"(?:(?<!{LETTER})|(?={_UNSPACED}))\L<known>(?:(?!{LETTER})|(?<={_UNSPACED}))", regex.V1, known=values
    )
