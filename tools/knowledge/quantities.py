"""Finds numbers with units: prices, periods, shares, times of day, stock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tools.knowledge.words import NUMBER_WORDS


class Measure(StrEnum):
    """Kinds of quantities. The comments give the unit of their values."""

    MONEY = "money"  # euros
    TIME = "time"  # minutes
    CLOCK = "clock"  # minutes after midnight
    SHARE = "share"  # percent
    POINTS = "points"
    STOCK = "stock"  # pieces


@dataclass(frozen=True)
class Quantity:
    """A number, or both ends of a range, at characters [start, end).

    ``values`` are in the measure's unit, so that two years equal 24 months; ``numbers`` are as written.
    """

    start: int
    end: int
    measure: Measure
    values: tuple[float, ...]
    numbers: tuple[float, ...]

    def agrees(self, values: tuple[float, ...]) -> bool:
        """Whether all values of this quantity are among ``values``."""
        return set(self.values) <= set(values)


DAY = 24 * 60
MONTH = 30.4375 * DAY
_MINUTES = {
    "minute": 1.0,
    "min": 1.0,
    "hour": 60.0,
    "day": float(DAY),
    "weekday": float(DAY),
    "week": 7.0 * DAY,
    "month": MONTH,
    "year": 12 * MONTH,
}
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\b(?:" + "|".join(NUMBER_WORDS) + r")\b)"
_RANGE = rf"(?<![\w.,#-])(?P<first>{_NUMBER})(?:\s*(?:-|–|to|and)\s*(?P<second>{_NUMBER}))?"
_UNIT = (
    r"[\s-]*(?:(?:working|business|full|whole|loyalty)[\s-]+)?"
    r"(?P<unit>EUR\b|euros?\b|€|percent\b|per cent\b|%|points?\b"
    r"|minutes?\b|mins?\b|hours?\b|days?\b|weekdays?\b|weeks?\b|months?\b|years?\b)"
)
_WITH_UNIT = re.compile(_RANGE + _UNIT, re.IGNORECASE)
_MONEY_FIRST = re.compile(rf"(?:€|\bEUR|\beuros?)\s?(?P<first>{_NUMBER})", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?<![\w.:-])(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?:\s?(?P<half>[ap]\.?m\b)| o'clock)?|\s?(?P<short>[ap]\.?m\b)"
    r"| o'clock)(?![:\d])",
    re.IGNORECASE,
)
_IN_STOCK = re.compile(
    rf"(?<![\w.,#-])(?P<first>{_NUMBER})(?!\s*(?:EUR|euro|€|%|percent|days?|months?))"
    r"(?:\s+(?!in\b|not\b)[a-z'-]+){0,6}?\s+(?:(?:are |is )?(?:still |currently )?(?:in stock|available|left)\b"
    r"|pieces\b|units\b)",
    re.IGNORECASE,
)
_STOCK_FIRST = re.compile(
    rf"\bstock(?: level)?(?: of [\w' -]{{1,40}}?)?(?::| is| are)\s*(?P<first>{_NUMBER})", re.IGNORECASE
)


def quantities(text: str) -> list[Quantity]:
    """Quantities in the order of the text, without overlaps."""
    found: list[Quantity] = []
    for one in (*_clocks(text), *_units(text), *_money_first(text), *_stock(text)):
        if not any(one.start < other.end and other.start < one.end for other in found):
            found.append(one)
    return sorted(found, key=lambda one: one.start)


def number(text: str) -> float:
    """Value of digits (1,299.50 or 12,5) or of a number word."""
    word = text.lower()
    if word in NUMBER_WORDS:
        return NUMBER_WORDS[word]
    return float(re.sub(r",(?=\d{3}(?!\d))", "", word).replace(",", "."))


def _units(text: str) -> Iterator[Quantity]:
    for match in _WITH_UNIT.finditer(text):
        unit = match["unit"].lower()
        measure, scale = _measure(unit)
        numbers = tuple(number(match[name]) for name in ("first", "second") if match[name])
        yield Quantity(match.start(), match.end(), measure, tuple(one * scale for one in numbers), numbers)


def _measure(unit: str) -> tuple[Measure, float]:
    if unit.startswith(("eur", "€")):
        return Measure.MONEY, 1.0
    if unit.startswith(("per", "%")):
        return Measure.SHARE, 1.0
    if unit.startswith("point"):
        return Measure.POINTS, 1.0
    return Measure.TIME, _MINUTES[unit.removesuffix("s")]


def _money_first(text: str) -> Iterator[Quantity]:
    for match in _MONEY_FIRST.finditer(text):
        value = (number(match["first"]),)
        yield Quantity(match.start(), match.end(), Measure.MONEY, value, value)


def _stock(text: str) -> Iterator[Quantity]:
    for pattern in (_IN_STOCK, _STOCK_FIRST):
        for match in pattern.finditer(text):
            value = (number(match["first"]),)
            yield Quantity(match.start("first"), match.end("first"), Measure.STOCK, value, value)


def _clocks(text: str) -> Iterator[Quantity]:
    for match in _CLOCK.finditer(text):
        half = (match["half"] or match["short"] or "").lower()
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if hour > 24 or minute > 59:
            continue
        hour = hour % 12 + (12 if half.startswith("p") else 0) if half else hour
        numbers = (float(match["hour"]), float(minute)) if minute else (float(match["hour"]),)
        yield Quantity(match.start(), match.end(), Measure.CLOCK, (float(hour * 60 + minute),), numbers)
