"""Reads numbers out of an overview, and formats numbers for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from flightloop.overview import Figure, Overview

Reduce = Callable[[list[float]], float]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def value(overview: Overview, name: str, reduce: Reduce = sum, **labels: str) -> float | None:
    """One number from a metric's values whose labels match; None if there are none."""
    found = [item.value for item in _matching(overview, name, labels) if item.value is not None]
    return reduce(found) if found else None


def average(overview: Overview, name: str, **labels: str) -> float | None:
    """Mean of a histogram over its values whose labels match."""
    found = [(item.value, item.count or 1) for item in _matching(overview, name, labels) if item.value is not None]
    return sum(each * count for each, count in found) / sum(count for _, count in found) if found else None


def number(overview: Overview, name: str, **labels: str) -> int:
    """Number of observations of a histogram over its values whose labels match."""
    return sum(item.count or 0 for item in _matching(overview, name, labels))


def p95(overview: Overview, name: str) -> float | None:
    """Highest 95th percentile of a histogram over its label values."""
    found = [item.p95 for item in _matching(overview, name, {}) if item.p95 is not None]
    return max(found, default=None)


def by_label(overview: Overview, name: str, label: str) -> dict[str, float]:
    """Sums by the values of a label."""
    sums: dict[str, float] = defaultdict(float)
    for item in _matching(overview, name, {}):
        if item.value is not None:
            sums[item.labels.get(label, "")] += item.value
    return dict(sums)


def _matching(overview: Overview, name: str, labels: dict[str, str]) -> Iterable[Figure]:
    for item in overview.figures(f"flightloop_{name}"):
        if all(item.labels.get(label) == wanted for label, wanted in labels.items()):
            yield item


NOTHING = "–"
LENGTHS = ((86400, "d"), (3600, "h"), (60, "min"))


def share(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.0%}"


def count(number: float | None) -> str:
    """Formats a count: 1,234 · 45.6k · 7.89M."""
    if number is None:
        return NOTHING
    for least, size, unit in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(number) >= least:
            return f"{number / size:.3g}{unit}"
    return f"{number:,.0f}"


def seconds(number: float | None) -> str:
    if number is None:
        return NOTHING
    if 0 < number < 0.9995:
        return f"{number * 1000:.3g} ms"
    if number < 100:
        return f"{number:.1f} s"
    return f"{number / 60:.1f} min" if number < 6000 else f"{number / 3600:.1f} h"


def euros(number: float | None) -> str:
    if number is None:
        return NOTHING
    return f"€ {number:,.2f}" if abs(number) >= 1 or not number else f"€ {number:.4f}"


def size(number: float | None) -> str:
    return NOTHING if number is None else f"{number / 2**30:.2f} GiB"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Time since a moment, in the largest unit that fits."""
    if moment is None:
        return NOTHING
    passed = ((now or datetime.now(UTC)) - moment).total_seconds()
    for length, unit in LENGTHS:
        if passed >= length:
            return f"{passed / length:.0f} {unit} ago"
    return "just now" if passed < 5 else f"{passed:.0f} s ago"


def ahead(moment: datetime, now: datetime | None = None) -> str:
    """Time until a moment, in the largest unit that fits."""
    left = (moment - (now or datetime.now(UTC))).total_seconds()
    for length, unit in LENGTHS:
        if left >= length:
            return f"in {left / length:.0f} {unit}"
    return "in a moment"
