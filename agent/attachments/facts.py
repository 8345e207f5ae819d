"""Checks what a text says about the values of a chart or table: numbers, extremes and directions.

A number is right if it is a value of the category that its clause names, also rounded, or follows from the values: a
sum, a mean, a median, a share, a difference, a relative change. It is wrong if it is another category's value. The
check knows English words for extremes and directions; what it doesn't know is left to the other rails.
"""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations

from agent.attachments.names import Names
from agent.attachments.number_pool import WRITTEN, NumberPool, Written
from guardrails.aside import aside
from guardrails.text.sentences import sentence_spans
from guardrails.types import Facts, Statement
from tools.vision.measures import Measures

MOST_TEXT, MOST_PAIRED = 20_000, 20
"""Longest text, and most values of a sentence whose differences are known."""
_MOST_KEPT = 256
_NEAR = 40
"""Characters around a number that are searched for words about it."""
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
class CheckedStatement:
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
    place: int
    """Place in the order of the data."""


class ChartFacts:
    """The values of a run's charts and tables, as facts about its answers.

    Args:
        measures: the numbers of each chart or table.
    """

    def __init__(self, measures: Sequence[Measures]) -> None:
        self._measures = measures
        self._size = sum(len(one.series) * len(one.categories) for one in measures)
        # The same names recur in a text's clauses, so that each combination is looked up once.
        self.of = lru_cache(_MOST_KEPT)(self._of)
        self.pool = lru_cache(_MOST_KEPT)(self._pool)
        self.shares = lru_cache(_MOST_KEPT)(self._shares)
        self.direction = lru_cache(_MOST_KEPT)(self._direction)

    async def __call__(self, text: str, asked: str) -> Sequence[CheckedStatement]:
        return await aside(len(text) * (1 + self._size), self.statements, text)

    def statements(self, text: str) -> list[CheckedStatement]:
        """The statements in a text that the values confirm or refute, in order."""
        if not self._values or len(text) > MOST_TEXT:
            return []
        found: list[CheckedStatement] = []
        for start, end in sentence_spans(text):
            found += _Sentence(self, text[start:end], start).statements()
        return found

    @cached_property
    def _values(self) -> list[_Value]:
        cells = (
            (series, category, value)
            for one in self._measures
            for series, row in zip(one.series, one.values, strict=True)
            for category, value in zip(one.categories, row, strict=True)
            if value is not None
        )
        return [_Value(series, category, value, place) for place, (series, category, value) in enumerate(cells)]

    @cached_property
    def categories(self) -> Names:
        return Names(value.category for value in self._values)

    @cached_property
    def series(self) -> Names:
        return Names(value.series for value in self._values)

    @cached_property
    def _by_category(self) -> dict[str, list[_Value]]:
        return _grouped(self._values, lambda value: value.category)

    @cached_property
    def _by_series(self) -> dict[str, list[_Value]]:
        return _grouped(self._values, lambda value: value.series)

    @cached_property
    def _extremes(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each series."""
        found = {name: [value.value for value in values] for name, values in self._by_series.items()}
        return {name: (min(values), max(values)) for name, values in found.items()}

    @cached_property
    def _sums(self) -> dict[str, float]:
        return {name: sum(value.value for value in values) for name, values in self._by_series.items()}

    def _of(self, categories: tuple[str, ...], series: tuple[str, ...]) -> list[_Value]:
        """Values of these categories and series in order; empty tuples stand for all."""
        if not categories and not series:
            return self._values
        index, names = (self._by_category, categories) if categories else (self._by_series, series)
        found = [value for name in dict.fromkeys(names) for value in index.get(name, ())]
        return sorted((one for one in found if not series or one.series in series), key=lambda value: value.place)

    def _pool(self, categories: tuple[str, ...], series: tuple[str, ...]) -> NumberPool:
        return NumberPool(value.value for value in self.of(categories, series))

    def _shares(self, categories: tuple[str, ...], series: tuple[str, ...]) -> NumberPool:
        """Each value's percentage of its series' sum."""
        wholes = ((value.value, self._sums[value.series]) for value in self.of(categories, series))
        return NumberPool(100 * value / whole if whole else 0.0 for value, whole in wholes)

    @cached_property
    def derived(self) -> NumberPool:
        """Numbers that follow from whole series: counts, sums, means, medians, changes."""
        found: list[float] = [len(one.categories) for one in self._measures]
        for known in self._rows():
            found += [sum(known), statistics.fmean(known), statistics.median(known), len(known), known[-1] - known[0]]
        return NumberPool(found)

    @cached_property
    def percentages(self) -> NumberPool:
        """Relative changes from the first to the last value of each series, in percent."""
        return NumberPool(change for known in self._rows() for change in _relative(known[0], known[-1]))

    def _rows(self) -> Iterator[list[float]]:
        for one in self._measures:
            for row in one.values:
                if known := [value for value in row if value is not None]:
                    yield known

    def is_extreme(self, category: str, series: Sequence[str], *, highest: bool) -> bool:
        """Whether a category has the largest or smallest value of one of these series, or of all."""
        values = self.of((category,), tuple(series))
        return any(value.value == self._extremes[value.series][highest] for value in values)

    @cached_property
    def _ordered(self) -> list[Measures]:
        return [one for one in self._measures if one.ordered]

    def _direction(self, categories: tuple[str, ...], series: tuple[str, ...]) -> set[int]:
        """Signs of the changes between two categories, or from first to last of ordered ones; empty if unknown."""
        signs: set[int] = set()
        for one in self._ordered:
            places = [place for place, name in enumerate(one.categories) if name in categories]
            ends = (places[0], places[-1]) if len(places) == 2 else (0, len(one.categories) - 1)
            for name, row in zip(one.series, one.values, strict=True):
                first, last = row[ends[0]], row[ends[1]]
                if (not series or name in series) and first is not None and last is not None:
                    signs.add((last > first) - (last < first))
        return signs


def with_figures(facts: Facts, measures: Sequence[Measures]) -> Facts:
    """Facts of two sources: ``facts``, and the numbers of charts and tables."""
    if not measures:
        return facts
    own = ChartFacts(measures)

    async def found(text: str, asked: str) -> Sequence[Statement]:
        return [*await facts(text, asked), *await own(text, asked)]

    return found


class _Sentence:
    def __init__(self, facts: ChartFacts, text: str, offset: int) -> None:
        self._facts = facts
        self._text = text
        self._offset = offset
        self._categories = facts.categories.mentions(text)
        series = facts.series.mentions(text)
        self._series = tuple(dict.fromkeys(one.name for one in series))
        taken = bytearray(len(text))
        for one in (*self._categories, *series):
            taken[one.start : one.end] = b"1" * (one.end - one.start)
        self._numbers = [match for match in WRITTEN.finditer(text) if not any(taken[match.start() : match.end()])]
        self._cuts = [0, *(match.start() for match in _CLAUSE.finditer(text))]

    def statements(self) -> list[CheckedStatement]:
        numbers = [stated for match in self._numbers if (stated := self._number(match)) is not None]
        return [*numbers, *self._extremes(), *self._directions()]

    def _number(self, match: re.Match[str]) -> CheckedStatement | None:
        here, written = self._named_near(match.start()), Written.of(match)
        right = self._facts.pool(here, self._series).has(written)
        if right or self._follows(match, written, here) or self._in_turn:
            return self._stated(match.start(), match.end(), right=True)
        # Other rails look for all numbers in the evidence, except counts below ten.
        if here and (self._is_small(match) or self._facts.pool((), ()).has(written)):
            values = self._facts.of(here, self._series)
            told = ", ".join(f"{value.category} {value.value:g}" for value in values[:4])
            return self._stated(match.start(), match.end(), right=False, fact=f"the data have {told}")
        return None

    def _is_small(self, match: re.Match[str]) -> bool:
        """Whether a number is a digit that counts nothing ("the top 3", "1 of 5")."""
        counts = _BEFORE_COUNT.search(self._text[max(0, match.start() - _NEAR) : match.start()])
        counts = counts or _AFTER_COUNT.match(self._text[match.end() : match.end() + _NEAR])
        return len(match["digits"]) == 1 and not match["scale"] and not counts

    def _follows(self, match: re.Match[str], written: Written | None, here: tuple[str, ...]) -> bool:
        """Whether a number follows from the values: those of its clause, of the sentence, or of whole series."""
        if _PERCENT.match(self._text[match.end() : match.end() + _NEAR]):
            shares = self._facts.shares(here, self._series)
            return any(pool.has(written) for pool in (shares, self._changes, self._facts.percentages))
        return self._differences.has(written) or self._facts.derived.has(written)

    @cached_property
    def _pairs(self) -> list[tuple[_Value, _Value]]:
        names = tuple(dict.fromkeys(one.name for one in self._categories))
        return list(combinations(self._facts.of(names, self._series)[:MOST_PAIRED], 2)) if names else []

    @cached_property
    def _changes(self) -> NumberPool:
        return NumberPool(change for first, last in self._pairs for change in _relative(first.value, last.value))

    @cached_property
    def _differences(self) -> NumberPool:
        return NumberPool(first.value - last.value for first, last in self._pairs)

    def _named_near(self, place: int) -> tuple[str, ...]:
        """Categories of the clause at a place, or else of the nearest clause before it, or after it."""
        return self._named[bisect_right(self._cuts, place) - 1]

    @cached_property
    def _named(self) -> list[tuple[str, ...]]:
        """Categories of each clause, or else of the nearest one before it, or after it."""
        own: list[list[str]] = [[] for _ in self._cuts]
        for one in self._categories:
            own[bisect_right(self._cuts, one.start) - 1].append(one.name)
        named = [tuple(dict.fromkeys(names)) for names in own]
        known = next((names for names in named if names), ())
        for index, names in enumerate(named):
            known = named[index] = names or known
        return named

    @cached_property
    def _in_turn(self) -> bool:
        """Whether the sentence lists as many numbers as categories, and each fits ("A and B have 1 and 2")."""
        if len(self._numbers) != len(self._categories) or len(self._numbers) < 2:
            return False
        pairs = zip(self._categories, self._numbers, strict=True)
        return all(self._facts.pool((one.name,), self._series).has(Written.of(match)) for one, match in pairs)

    def _extremes(self) -> Iterator[CheckedStatement]:
        for highest, pattern in ((True, _HIGHEST), (False, _LOWEST)):
            for match in pattern.finditer(self._text):
                named = self._named_near(match.start())
                if len(named) != 1 or self._ranked:
                    continue
                right = self._facts.is_extreme(named[0], self._series, highest=highest)
                fact = "" if right else f"{named[0]} has not the {'largest' if highest else 'smallest'} value"
                yield self._stated(match.start(), match.end(), right=right, fact=fact)

    @cached_property
    def _ranked(self) -> bool:
        return _RANKED.search(self._text) is not None

    def _directions(self) -> Iterator[CheckedStatement]:
        up, down = _UP.search(self._text), _DOWN.search(self._text)
        if (up is None) == (down is None):
            return
        names = tuple(one.name for one in self._categories)
        signs = self._facts.direction(names, self._series) if len(names) in (0, 2) else set()
        if len(signs) == 1 and (found := up or down) is not None:
            right = signs == {1 if up else -1}
            fact = "" if right else "the values go the other way"
            yield self._stated(found.start(), found.end(), right=right, fact=fact)

    def _stated(self, start: int, end: int, *, right: bool, fact: str = "") -> CheckedStatement:
        return CheckedStatement(self._offset + start, self._offset + end, right, fact)


def _grouped(values: Iterable[_Value], key: Callable[[_Value], str]) -> dict[str, list[_Value]]:
    found: dict[str, list[_Value]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return found


def _relative(first: float, last: float) -> list[float]:
    """Relative changes in percent, in both directions."""
    return [100 * (one - other) / abs(other) for one, other in ((last, first), (first, last)) if other]
