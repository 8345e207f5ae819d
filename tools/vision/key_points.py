"""Key points of a chart or table, computed from its values: extremes, change, trend and outliers."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import StrEnum

from tools.vision.measures import Measures

CLEAR_TREND = 0.6
"""Least Kendall's tau, without sign, of a trend."""
FAR_OUT = 3.5
"""Modified z-score above which a value is an outlier (Iglewicz and Hoaglin 1993)."""
FEWEST = 5
"""Values that are needed for a trend or an outlier to mean anything."""


class PointKind(StrEnum):
    LARGEST = "largest"
    SMALLEST = "smallest"
    CHANGE = "change"
    TREND = "trend"
    OUTLIER = "outlier"


@dataclass(frozen=True)
class KeyPoint:
    """A fact about the values. ``category`` and ``series`` are texts from the image and untrusted."""

    kind: PointKind
    series: str
    category: str
    value: float
    """The value; of a change the relative change (0.1 is 10 % more), of a trend Kendall's tau (-1 to 1)."""
    text: str


def key_points(measures: Measures) -> tuple[KeyPoint, ...]:
    """Key points of each series. Change and trend are computed for ordered categories only."""
    found: list[KeyPoint] = []
    for index, series in enumerate(measures.series):
        unit = measures.units[index] if index < len(measures.units) else ""
        known = [
            (name, value)
            for name, value in zip(measures.categories, measures.values[index], strict=True)
            if value is not None
        ]
        if known:
            found += _of_series(series, unit, known, ordered=measures.ordered)
    return tuple(found)


def _of_series(series: str, unit: str, known: list[tuple[str, float]], *, ordered: bool) -> list[KeyPoint]:
    of = f" of {series}" if series else ""
    found = []
    high, low = max(known, key=lambda one: one[1]), min(known, key=lambda one: one[1])
    for kind, (name, value) in ((PointKind.LARGEST, high), (PointKind.SMALLEST, low)):
        if high[1] != low[1]:
            found.append(KeyPoint(kind, series, name, value, f"{kind} value{of}: {_number(value, unit)} at {name}"))
    if ordered and len(known) >= 2:
        found += _over_time(series, of, unit, known)
    return found + _outliers(series, of, unit, known)


def _over_time(series: str, of: str, unit: str, known: list[tuple[str, float]]) -> list[KeyPoint]:
    (first, start), (last, end) = known[0], known[-1]
    found = []
    if start:
        share = (end - start) / abs(start)
        text = f"change{of} from {first} to {last}: {_number(start, unit)} to {_number(end, unit)} ({share:+.1%})"
        found.append(KeyPoint(PointKind.CHANGE, series, last, share, text))
    tau = _kendall([value for _, value in known])
    if len(known) >= FEWEST and abs(tau) >= CLEAR_TREND:
        way = "rising" if tau > 0 else "falling"
        text = f"trend{of} from {first} to {last}: {way} (Kendall's tau {tau:.2f})"
        found.append(KeyPoint(PointKind.TREND, series, last, tau, text))
    return found


def _outliers(series: str, of: str, unit: str, known: list[tuple[str, float]]) -> list[KeyPoint]:
    if len(known) < FEWEST:
        return []
    middle = statistics.median(value for _, value in known)
    spread = statistics.median(abs(value - middle) for _, value in known)
    if not spread:
        return []
    usual = f"the median is {_number(middle, unit)}"
    return [
        KeyPoint(PointKind.OUTLIER, series, name, value, f"outlier{of}: {_number(value, unit)} at {name}; {usual}")
        for name, value in known
        if 0.6745 * abs(value - middle) / spread > FAR_OUT
    ]


def _kendall(values: list[float]) -> float:
    """Kendall's tau-a of values against their order. Searches the values before each one, instead of all pairs."""
    before: list[float] = []
    rising = 0
    for value in values:
        at = bisect_right(before, value)
        rising += bisect_left(before, value, hi=at) - (len(before) - at)
        before.insert(at, value)
    pairs = len(values) * (len(values) - 1) // 2
    return rising / pairs if pairs else 0.0


def _number(value: float, unit: str) -> str:
    text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{unit}{text}" if unit in ("$", "€", "£", "¥") else f"{text} {unit}".rstrip()
