"""Finders locate what a rail looks for, in a complete text or in a stream.

What a finder finds at a position depends only on the text from there on (and a character or two
before), never on other findings. So a text can be checked piece by piece. A position is *live* while
more text could still create or lengthen a match there. The text before the first live position is
settled. ``regex`` decides: a full match with ``partial=True`` shows whether the rest of the text is
the beginning of a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import regex

AFTER_ESCAPE = r"(?<=\\[bfnrt]|\\u[0-9a-fA-F]{4})"
SHORT = 16
"""Below this many characters (names and numbers in arguments), one search for all patterns is quicker than one each."""
Window = tuple[int, int]
Refine = Callable[[str], Iterable[Window]]
"""Maps a matched text to the parts that are findings, for instance those with a valid checksum."""


@dataclass(frozen=True, order=True)
class Finding:
    """Characters [start, end) of a text and the label of what was found there."""

    start: int
    end: int
    label: str


class Finder(Protocol):
    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        """All findings that start in [``start``, ``before``), if the text is complete."""

    def live(self, text: str, start: int = 0) -> int:
        """The first position from ``start`` on where more text could change a finding; the text's length if none."""


def whole(matched: str) -> Iterator[Window]:
    yield 0, len(matched)


@dataclass(frozen=True)
class Pattern:
    """One labelled regular expression. Its look-around must be bounded.

    ``ends_alike``: a match that begins within another ends at the same position. Such matches are skipped,
    because a text that only consists of beginnings would be read to its end from each of them.

    ``needs``: a regular expression that is quick to search for; a text without it has no match.
    """

    label: str  # label of its findings
    expression: str
    refine: Refine = whole  # selects the parts of a match that count
    ignore_case: bool = False
    ends_alike: bool = False
    needs: str = ""

    @property
    def scoped(self) -> str:
        return f"(?i:{self.expression})" if self.ignore_case else f"(?:{self.expression})"


def not_after(characters: str) -> str:
    r"""Look-behind: none of these characters precedes, except as the letter of a JSON escape: in
    ``\nsk-…`` the key begins a line."""
    return rf"(?:(?<![{characters}])|{AFTER_ESCAPE})"


class PatternFinder:
    """Finds several patterns at once."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = [(pattern, regex.compile(pattern.scoped)) for pattern in patterns]
        self._needs = {pattern.needs: regex.compile(pattern.needs, regex.IGNORECASE) for pattern in patterns}
        self._any = regex.compile("|".join(pattern.scoped for pattern in patterns))

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        signs = {needs: not needs or sign.search(text, start) is not None for needs, sign in self._needs.items()}
        possible = [(pattern, compiled) for pattern, compiled in self._patterns if signs[pattern.needs]]
        if not possible or (len(text) - start < SHORT and self._any.search(text, start) is None):
            return []
        found: list[Finding] = []
        for pattern, compiled in possible:
            for match in compiled.finditer(text, start, overlapped=not pattern.ends_alike):
                if before is not None and match.start() >= before:
                    break
                found += _findings(pattern, match)
        return sorted(found)

    def first(self, text: str, most: int, characters: int) -> list[Finding]:
        """The first findings of a text, without searching further.

        Args:
            most: maximum number of findings.
            characters: total length of the matches of each pattern that are read. They may turn out to be no findings.
        """
        found: list[Finding] = []
        for pattern, compiled in self._patterns:
            matches = _up_to(compiled.finditer(text, overlapped=not pattern.ends_alike), characters)
            found += islice((one for match in matches for one in _findings(pattern, match)), most)
        return sorted(found)[:most]

    def live(self, text: str, start: int = 0) -> int:
        for at in range(start, len(text)):
            if self._any.fullmatch(text, at, partial=True):
                return at
        return len(text)


def _up_to(matches: Iterable[regex.Match[str]], characters: int) -> Iterator[regex.Match[str]]:
    for match in matches:
        yield match
        characters -= match.end() - match.start()
        if characters <= 0:
            return


def _findings(pattern: Pattern, match: regex.Match[str]) -> Iterator[Finding]:
    for begin, end in pattern.refine(match.group()):
        yield Finding(match.start() + begin, match.start() + end, pattern.label)


class EdgeFinder(PatternFinder):
    """Finder whose matches begin with no blank, and not behind an ASCII letter or digit, unless that ends an escape.

    Args:
        within_word: no match contains a space or a line break.
    """

    def __init__(self, patterns: Sequence[Pattern], *, within_word: bool = False) -> None:
        super().__init__(patterns)
        self._within_word = within_word

    def live(self, text: str, start: int = 0) -> int:
        if self._within_word:
            start = max(start, text.rfind(" ") + 1, text.rfind("\n") + 1)
        for edge in _EDGE.finditer(text, start):
            if self._any.fullmatch(text, edge.start(), partial=True):
                return edge.start()
        return len(text)


_EDGE = regex.compile(r"(?<![a-zA-Z\d](?<!\\[bfnrt]|\\u[\da-fA-F]{4}|%[\da-fA-F]{2}))\S")


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Joins overlapping findings. The label is that of the first one, or of the longest that starts there."""
    result: list[Finding] = []
    for finding in sorted(findings, key=lambda item: (item.start, -item.end, item.label)):
        if result and finding.start < result[-1].end:
            last = result[-1]
            result[-1] = Finding(last.start, max(last.end, finding.end), last.label)
        else:
            result.append(finding)
    return result


def placeholder(finding: Finding) -> str:
    return f"[redacted:{finding.label}]"


def redact(text: str, findings: Iterable[Finding]) -> str:
    """The text with every finding replaced by its placeholder."""
    pieces, at = [], 0
    for finding in merged(findings):
        pieces += [text[at : finding.start], placeholder(finding)]
        at = finding.end
    return "".join([*pieces, text[at:]])
