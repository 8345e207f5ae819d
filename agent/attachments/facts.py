"""Checks what a text says about the values of a chart or table: numbers, extremes and directions.

A number is right if it is a value of the category that its clause names, also rounded, or follows from the values: a
sum, a mean, a median, a share, a difference, a relative change. It is wrong if it is another category's value. The
check knows English words for extremes and directions; what it doesn't know is left to the other rails.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise

from guardrails.text.sentences import sentence_spans
from guardrails.text.words import number_of
from guardrails.types import Facts as GuardFacts
from guardrails.types import Statement
from tools.vision.measures import Measures

MOST_TEXT, MOST_NAMES, MOST_PAIRED = 20_000, 400, 20
"""Longest text, most names, and most values of a sentence whose differences are known."""
_NUMBER = re.compile(
    r"(?<![\w.,])[-+−]?[$€£¥]?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)(?![\w]|[.,]\d)"
    r"(?:\s?(?P<scale>thousand|million|billion)\b)?",
    re.IGNORECASE,
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_CLAUSE = re.compile(
    r"[,;:]\s|\s[–—-]\s|\b(?:and|while|whereas|but|however|compared|followed|versus|than)\b", re.IGNORECASE
)
_HIGHEST = re.compile(
    r"\b(?:highest|largest|biggest|greatest|most|maximum|peak(?:s|ed)?|top(?!\s+(?:\d|two|three|four|five)))\b",
    re.IGNORECASE,
)
_LOWEST = re.compile(
    r"\b(?:lowest|smallest|fewest|least|minimum|bottom(?!\s+(?:\d|two|three|four|five)))\b", re.IGNORECASE
)
_RANKED = re.compile(r"\b(?:second|third|fourth|next|one of|among|at least|at most|almost|mostly)\b", re.IGNORECASE)
_UP = re.compile(r"\b(?:increas\w*|ris(?:e|es|en|ing)|rose|gr(?:ow|ows|ew|own|owing|owth)|climb\w*|upward\w*)\b", re.I)
_DOWN = re.compile(
    r"\b(?:decreas\w*|declin\w*|fall(?:s|en|ing)?|fell|drop(?:s|ped|ping)?|downward\w*|shr[aiu]nk\w*)\b", re.I
)

_BEFORE_COUNT = re.compile(r"\b(?:top|first|last|best|of|other)\s+(?:the\s+)?$", re.IGNORECASE)
_PERCENT = re.compile(r"\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)
_AFTER_COUNT = re.compile(r"\s+(?:of|out)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Checked:
    """A statement at characters [start, end) of a text. Implements ``guardrails.types.Statement``."""

    start: int
    end: int
    right: bool
    fact: str = ""
    """What the values are, if the statement is wrong."""
    numbers: tuple[float, ...] = ()
    """Empty, so that a statement which the values refute is wrong even if its number occurs elsewhere."""
    strict: bool = True


@dataclass(frozen=True)
class _Value:
    series: str
    category: str
    value: float


@dataclass(frozen=True)
class _Mention:
    """A category or series that a sentence names."""

    name: str
    start: int
    end: int


class Facts:
    """The values of a run's charts and tables, as facts about its answers.

    Args:
        measures: the numbers of each chart or table.
    """

    def __init__(self, measures: Sequence[Measures]) -> None:
        self._measures = measures
        self._values = [
            _Value(series, category, value)
            for one in measures
            for series, row in zip(one.series, one.values, strict=True)
            for category, value in zip(one.categories, row, strict=True)
            if value is not None
        ]

    async def __call__(self, text: str, asked: str) -> Sequence[Checked]:
        return self.statements(text)

    def statements(self, text: str) -> list[Checked]:
        """The statements in a text that the values confirm or refute, in order."""
        if not self._values or len(text) > MOST_TEXT:
            return []
        found: list[Checked] = []
        for start, end in sentence_spans(text):
            found += _Sentence(self, text[start:end], start).statements()
        return found

    @cached_property
    def categories(self) -> list[str]:
        return list(dict.fromkeys(value.category for value in self._values if value.category.strip()))[:MOST_NAMES]

    @cached_property
    def series(self) -> list[str]:
        return list(dict.fromkeys(value.series for value in self._values if value.series.strip()))[:MOST_NAMES]

    def of(self, categories: Sequence[str], series: Sequence[str]) -> list[_Value]:
        """Values of these categories and series; empty sequences stand for all."""
        return [
            value
            for value in self._values
            if (not categories or value.category in categories) and (not series or value.series in series)
        ]

    @cached_property
    def derived(self) -> list[float]:
        """Numbers that follow from whole series: counts, sums, means, medians, changes."""
        found: list[float] = [len(one.categories) for one in self._measures]
        for known in self._rows():
            found += [sum(known), statistics.fmean(known), statistics.median(known), len(known), known[-1] - known[0]]
        return found

    @cached_property
    def percentages(self) -> list[float]:
        """Relative changes from the first to the last value of each series, in percent."""
        return [change for known in self._rows() for change in _relative(known[0], known[-1])]

    def _rows(self) -> Iterator[list[float]]:
        for one in self._measures:
            for row in one.values:
                if known := [value for value in row if value is not None]:
                    yield known

    def share(self, value: _Value) -> float:
        """A value's percentage of its series' sum."""
        whole = sum(other.value for other in self._values if other.series == value.series)
        return 100 * value.value / whole if whole else 0.0

    def is_extreme(self, category: str, series: Sequence[str], *, highest: bool) -> bool:
        """Whether a category has the largest or smallest value of one of these series, or of all."""
        best = max if highest else min
        for name in series or list(dict.fromkeys(value.series for value in self._values)):
            values = self.of((), (name,))
            if values and any(
                value.value == best(other.value for other in values) for value in values if value.category == category
            ):
                return True
        return False

    def direction(self, categories: Sequence[str], series: Sequence[str]) -> set[int]:
        """Signs of the changes between two categories, or from first to last of ordered ones; empty if unknown."""
        signs: set[int] = set()
        for one in self._measures:
            places = [place for place, name in enumerate(one.categories) if name in categories]
            ends = (places[0], places[-1]) if len(places) == 2 else (0, len(one.categories) - 1)
            if not one.ordered or len(one.categories) < 2:
                continue
            for name, row in zip(one.series, one.values, strict=True):
                first, last = row[ends[0]], row[ends[1]]
                if (not series or name in series) and first is not None and last is not None:
                    signs.add((last > first) - (last < first))
        return signs


def with_figures(facts: GuardFacts, measures: Sequence[Measures]) -> GuardFacts:
    """Facts of two sources: ``facts``, and the numbers of charts and tables."""
    if not measures:
        return facts
    own = Facts(measures)

    async def found(text: str, asked: str) -> Sequence[Statement]:
        return [*await facts(text, asked), *await own(text, asked)]

    return found


class _Sentence:
    def __init__(self, facts: Facts, text: str, offset: int) -> None:
        self._facts = facts
        self._text = text
        self._offset = offset
        self._categories = _mentions(text, facts.categories)
        self._series = [one.name for one in _mentions(text, facts.series)]
        taken = [(one.start, one.end) for one in self._categories]
        self._numbers = [
            match
            for match in _NUMBER.finditer(text)
            if not any(match.start() < end and start < match.end() for start, end in taken)
        ]
        cuts = [0, *(match.start() for match in _CLAUSE.finditer(text)), len(text)]
        self._clauses = list(pairwise(cuts))

    def statements(self) -> list[Checked]:
        numbers = [stated for match in self._numbers if (stated := self._number(match)) is not None]
        return [*numbers, *self._extremes(), *self._directions()]

    def _number(self, match: re.Match[str]) -> Checked | None:
        here = self._named_near(match.start())
        values = self._facts.of(here, self._series)
        if _is_one_of([value.value for value in values], match) or self._follows(match, values) or self._in_turn():
            return self._stated(match.start(), match.end(), right=True)
        # Other rails look for all numbers in the evidence, except counts below ten.
        if here and (self._is_small(match) or _is_one_of([value.value for value in self._facts.of((), ())], match)):
            told = ", ".join(f"{value.category} {value.value:g}" for value in values[:4])
            return self._stated(match.start(), match.end(), right=False, fact=f"the data have {told}")
        return None

    def _is_small(self, match: re.Match[str]) -> bool:
        """Whether a number is a digit that counts nothing ("the top 3", "1 of 5")."""
        counts = _BEFORE_COUNT.search(self._text[: match.start()]) or _AFTER_COUNT.match(self._text[match.end() :])
        return len(match["digits"]) == 1 and not match["scale"] and not counts

    def _follows(self, match: re.Match[str], values: Sequence[_Value]) -> bool:
        """Whether a number follows from the values: those of its clause, of the sentence, or of whole series."""
        names = [one.name for one in self._categories]
        pairs = list(combinations(self._facts.of(names, self._series)[:MOST_PAIRED], 2)) if names else []
        if _PERCENT.match(self._text[match.end() :]):
            changes = [change for first, last in pairs for change in _relative(first.value, last.value)]
            shares = [self._facts.share(value) for value in values]
            return _is_one_of([*shares, *changes, *self._facts.percentages], match)
        differences = [first.value - last.value for first, last in pairs]
        return _is_one_of([*differences, *self._facts.derived], match)

    def _named_near(self, place: int) -> list[str]:
        """Categories of the clause at a place, or else of the nearest clause before it, or after it."""
        index = next(i for i, (start, end) in enumerate(self._clauses) if start <= place < end)
        order = [*range(index, -1, -1), *range(index + 1, len(self._clauses))]
        for start, end in (self._clauses[i] for i in order):
            if named := [one.name for one in self._categories if start <= one.start < end]:
                return named
        return []

    def _in_turn(self) -> bool:
        """Whether the sentence lists as many numbers as categories, and each fits ("A and B have 1 and 2")."""
        if len(self._numbers) != len(self._categories) or len(self._numbers) < 2:
            return False
        pairs = zip(self._categories, self._numbers, strict=True)
        return all(
            _is_one_of([value.value for value in self._facts.of((one.name,), self._series)], match)
            for one, match in pairs
        )

    def _extremes(self) -> Iterator[Checked]:
        for highest, pattern in ((True, _HIGHEST), (False, _LOWEST)):
            for match in pattern.finditer(self._text):
                named = self._named_near(match.start())
                if len(named) != 1 or _RANKED.search(self._text):
                    continue
                right = self._facts.is_extreme(named[0], self._series, highest=highest)
                fact = "" if right else f"{named[0]} has not the {'largest' if highest else 'smallest'} value"
                yield self._stated(match.start(), match.end(), right=right, fact=fact)

    def _directions(self) -> Iterator[Checked]:
        up, down = _UP.search(self._text), _DOWN.search(self._text)
        if (up is None) == (down is None):
            return
        names = [one.name for one in self._categories]
        signs = self._facts.direction(names, self._series) if len(names) in (0, 2) else set()
        if len(signs) == 1 and (found := up or down) is not None:
            right = signs == {1 if up else -1}
            fact = "" if right else "the values go the other way"
            yield self._stated(found.start(), found.end(), right=right, fact=fact)

    def _stated(self, start: int, end: int, *, right: bool, fact: str = "") -> Checked:
        return Checked(self._offset + start, self._offset + end, right, fact)


def _mentions(text: str, names: Sequence[str]) -> list[_Mention]:
    """Names that occur in a text as words, in order; the longest where several begin."""
    found: list[_Mention] = []
    taken = bytearray(len(text))
    for name in sorted(names, key=len, reverse=True):
        for match in re.finditer(rf"(?<!\w){re.escape(name.strip())}(?!\w)", text, re.IGNORECASE):
            if not any(taken[match.start() : match.end()]):
                taken[match.start() : match.end()] = b"1" * len(match.group())
                found.append(_Mention(name, match.start(), match.end()))
    return sorted(found, key=lambda one: one.start)


def _is_one_of(values: Sequence[float], match: re.Match[str]) -> bool:
    """Whether a written number is one of the values, rounded as it is written."""
    digits = match["digits"]
    number = number_of(digits)
    if number is None:
        return False
    scale = _SCALES.get((match["scale"] or "").lower(), 1.0)
    whole, point, decimals = digits.replace(",", "." if re.fullmatch(r"\d+,\d{1,2}", digits) else "").partition(".")
    zeros = len(whole) - len(whole.rstrip("0")) if not point else 0
    exact = 0.5 * 10.0 ** -len(decimals)
    loose = 0.5 * 10.0**zeros
    for value in values:
        distance = abs(abs(value) / scale - number)
        if distance <= exact * 1.000001 or (zeros and distance <= min(loose, 0.05 * number)):
            return True
    return False


def _relative(first: float, last: float) -> list[float]:
    """Relative changes in percent, in both directions."""
    return [100 * (one - other) / abs(other) for one, other in ((last, first), (first, last)) if other]
