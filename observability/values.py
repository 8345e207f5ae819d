"""Reads figures from series: sums, quantiles, breakdowns by a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from observability.catalog import BY_NAME, Metric
from observability.series import Histogram, Key, Series


class Values:
    """A read-only view of series. A figure that was never reported is None, not 0."""

    def __init__(self, series: Series) -> None:
        self.series = series

    def value(self, metric: Metric, **labels: str) -> float | None:
        """Sum of counters or gauges with these labels."""
        found = [value for key, value in self.series.scalars.items() if _matches(metric, key, labels)]
        return sum(found) if found else None

    def mean(self, metric: Metric, **labels: str) -> float | None:
        """Mean of gauges with these labels; for a histogram, the mean of its observations."""
        if metric.buckets:
            histogram = self.histogram(metric, **labels)
            return histogram.total / histogram.count if histogram and histogram.count else None
        found = [value for key, value in self.series.scalars.items() if _matches(metric, key, labels)]
        return sum(found) / len(found) if found else None

    def by(self, metric: Metric, label: str, **labels: str) -> dict[str, float]:
        """Sums of counters or gauges by the values of a label, in order of appearance."""
        index = metric.label_names.index(label)
        sums: dict[str, float] = {}
        for key, value in self.series.scalars.items():
            if _matches(metric, key, labels):
                sums[key[1][index]] = sums.get(key[1][index], 0.0) + value
        return sums

    def histogram(self, metric: Metric, **labels: str) -> Histogram | None:
        """Sum of the histograms with these labels."""
        found = [histogram for key, histogram in self.series.histograms.items() if _matches(metric, key, labels)]
        if not found:
            return None
        total = Histogram.empty(metric)
        for histogram in found:
            total.add(histogram)
        return total

    def quantile(self, metric: Metric, share: float, **labels: str) -> float | None:
        """Quantile by linear interpolation within its bucket, like Prometheus' histogram_quantile.

        In the last bucket, which has no upper bound, the result is the highest bound.
        """
        histogram = self.histogram(metric, **labels)
        return None if histogram is None else _quantile(metric, histogram, share)

    def to_json(self) -> list[dict[str, Any]]:
        """All series with name, labels and value; histograms with count, sum, p50 and p95."""
        rows = [_row(key, lambda key: {"value": self.series.scalars[key]}) for key in self.series.scalars]
        return rows + [_row(key, self._summary) for key in self.series.histograms]

    def _summary(self, key: Key) -> dict[str, Any]:
        metric, histogram = BY_NAME[key[0]], self.series.histograms[key]
        return {
            "count": histogram.count,
            "sum": histogram.total,
            "p50": _quantile(metric, histogram, 0.5),
            "p95": _quantile(metric, histogram, 0.95),
        }


def _quantile(metric: Metric, histogram: Histogram, share: float) -> float | None:
    if not histogram.count:
        return None
    rank = share * histogram.count
    below = 0.0
    lower = 0.0
    for bound, count in zip(metric.buckets, histogram.counts[:-1], strict=True):
        if count and below + count >= rank:
            return lower + (bound - lower) * max(rank - below, 0.0) / count
        below += count
        lower = bound
    return metric.buckets[-1]


def _matches(metric: Metric, key: Key, labels: dict[str, str]) -> bool:
    if key[0] != metric.name:
        return False
    names = metric.label_names
    return all(key[1][names.index(name)] == value for name, value in labels.items())


def _row(key: Key, figures: Callable[[Key], dict[str, Any]]) -> dict[str, Any]:
    metric = BY_NAME[key[0]]
    return {"name": metric.name, "labels": dict(zip(metric.label_names, key[1], strict=True)), **figures(key)}
