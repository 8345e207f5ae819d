"""Finders: where in a text something stands that a rail watches for, whole or while it arrives.

A finder's answer at a position depends on the text from there on (and a character or two before),
never on what was found elsewhere. So a text can be judged piece by piece: what starts before the
first *live* position, from which more text could still make or lengthen a match, is settled.
Liveness is asked of ``regex``: a full match with ``partial=True`` from a position says whether the
rest of the text is the beginning of a match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import regex

AFTER_ESCAPE = r"(?<=\\[bfnrt]|\\u[0-9a-fA-F]{4})"
SHORT = 16
"""Characters below which one search for any pattern is quicker than one for each: names and numbers in arguments."""
Window = tuple[int, int]
Refine = Callable[[str], Iterable[Window]]
"""A matched text; the parts of it that are really meant (a checksum holds). None are left: no finding."""


@dataclass(frozen=True, order=True)
class Finding:
    """Characters [start, end) of a text, and what stands there."""

    start: int
    end: int
    label: str


class Finder(Protocol):
    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        """Everything that begins at ``start`` or later, and before ``before``, taking the text as complete."""

    def live(self, text: str, start: int = 0) -> int:
        """The first position from ``start`` on where more text could change a finding; else the length."""


def whole(matched: str) -> Iterator[Window]:
    yield 0, len(matched)


@dataclass(frozen=True)
class Pattern:
    """One labelled regular expression. It must begin and end within bounded look-around.

    ``ends_alike``: matches that begin within another one end with it. They are left out: a text of nothing but
    beginnings would be read to its end from each of them.
    """

    label: str
    expression: str
    refine: Refine = whole
    ignore_case: bool = False
    ends_alike: bool = False

    @property
    def scoped(self) -> str:
        return f"(?i:{self.expression})" if self.ignore_case else f"(?:{self.expression})"


def not_after(characters: str) -> str:
    r"""A look-behind: none of these characters stands before. The letter of an escape in JSON is none of them: in
    ``\nsk-…`` a line begins with the key."""
    return rf"(?:(?<![{characters}])|{AFTER_ESCAPE})"


class PatternFinder:
    """Finds several patterns at once."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = [(pattern, regex.compile(pattern.scoped)) for pattern in patterns]
        self._any = regex.compile("|".join(pattern.scoped for pattern in patterns))

    def find(self, text: str, start: int = 0, before: int | None = None) -> list[Finding]:
        if len(text) - start < SHORT and self._any.search(text, start) is None:
            return []
        found = []
        for pattern, compiled in self._patterns:
            for match in compiled.finditer(text, start, overlapped=not pattern.ends_alike):
                if before is not None and match.start() >= before:
                    break
                for begin, end in pattern.refine(match.group()):
                    found.append(Finding(match.start() + begin, match.start() + end, pattern.label))
        return sorted(found)

    def live(self, text: str, start: int = 0) -> int:
        for at in range(start, len(text)):
            if self._any.fullmatch(text, at, partial=True):
                return at
        return len(text)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Overlapping findings as one, which keeps the label of the one that starts first (the longest, at a tie)."""
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
