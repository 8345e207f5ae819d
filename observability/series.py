"""Stores metric series: of one process, of a journal, or of several merged.

Plain data, not thread-safe, serialised as JSON. Keys are ``(metric name, label values in the metric's order)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from observability.catalog import BY_NAME, Kind, Metric
from observability.limits import LabelLimits

Key = tuple[str, tuple[str, ...]]


class Exemplar(NamedTuple):
    """A trace that is an example of a figure. ``at`` is in seconds since the epoch."""

    trace_id: str
    value: float
    at: float


@dataclass
class Histogram:
    """``counts`` per bucket, not cumulative, the last for infinity; ``exemplars`` by bucket index."""

    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    @classmethod
    def empty(cls, metric: Metric) -> Histogram:
        return cls([0] * (len(metric.buckets) + 1))

    @property
    def count(self) -> int:
        return sum(self.counts)

    def copy(self) -> Histogram:
        return Histogram(list(self.counts), self.total, dict(self.exemplars))

    def add(self, other: Histogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        for index, exemplar in other.exemplars.items():
            if index not in self.exemplars or self.exemplars[index].at <= exemplar.at:
                self.exemplars[index] = exemplar


def bucket_of(metric: Metric, value: float) -> int:
    """Index of the first bucket whose upper bound is at least ``value``; the last is infinity."""
    return next((index for index, bound in enumerate(metric.buckets) if value <= bound), len(metric.buckets))


class Series:
    """Scalars and histograms by key, checked against the catalogue."""

    def __init__(self) -> None:
        self.scalars: dict[Key, float] = {}
        self.histograms: dict[Key, Histogram] = {}
        self.exemplars: dict[Key, Exemplar] = {}
        self.limits = LabelLimits()

    def inc(self, metric: Metric, amount: float, labels: Mapping[str, str], exemplar: Exemplar | None = None) -> None:
        """Adds to a counter or a gauge. ``amount`` may be negative for a gauge.

        Raises:
            ValueError: labels that the metric doesn't have, a histogram, or a negative amount for a counter.
        """
        if metric.kind is Kind.HISTOGRAM:
            raise ValueError(f"{metric.name} is a histogram: use observe")
        if metric.kind is Kind.COUNTER and not 0 <= amount < float("inf"):
            raise ValueError(f"{metric.name} is a counter, which cannot change by {amount}")
        key = self._key(metric, labels)
        self.scalars[key] += amount
        if exemplar:
            self.exemplars[key] = exemplar

    def set(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Sets a gauge. Raises ValueError for wrong labels or another kind of metric."""
        if metric.kind is not Kind.GAUGE:
            raise ValueError(f"{metric.name} is a {metric.kind}, not a gauge")
        self.scalars[self._key(metric, labels)] = float(value)

    def observe(
        self, metric: Metric, value: float, labels: Mapping[str, str], exemplar: Exemplar | None = None
    ) -> None:
        """Adds an observation to a histogram. Raises ValueError for wrong labels, another kind of metric, or NaN."""
        if metric.kind is not Kind.HISTOGRAM:
            raise ValueError(f"{metric.name} is a {metric.kind}, not a histogram")
        if value != value:
            raise ValueError(f"{metric.name}: the value is not a number")
        histogram = self.histograms[self._key(metric, labels)]
        index = bucket_of(metric, value)
        histogram.counts[index] += 1
        histogram.total += value
        if exemplar:
            histogram.exemplars[index] = exemplar

    def initialise(self, metrics: Iterable[Metric]) -> None:
        """Starts at 0 all counters and histograms whose label values are known in advance."""
        for metric in metrics:
            if metric.kind is not Kind.GAUGE and all(label.values for label in metric.labels):
                for values in product(*(label.values for label in metric.labels)):
                    self.zero(metric, (metric.name, values))

    def zero(self, metric: Metric, key: Key) -> None:
        if metric.kind is Kind.HISTOGRAM:
            self.histograms.setdefault(key, Histogram.empty(metric))
        else:
            self.scalars.setdefault(key, 0.0)

    def _key(self, metric: Metric, labels: Mapping[str, str]) -> Key:
        known = BY_NAME.get(metric.name)
        if known is not metric and known != metric:  # unpickling a constant creates another object
            raise ValueError(f"{metric.name} is not in the catalogue")
        if unknown := set(labels) - set(metric.label_names):
            has = ", ".join(metric.label_names) or "none"
            raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}; it has {has}")
        values = []
        for label in metric.labels:
            value = labels.get(label.name, label.default)
            if value is None:
                raise ValueError(f"{metric.name} needs the label {label.name}")
            values.append(self.limits.bound(metric, label, str(value)))
        key = (metric.name, tuple(values))
        if key not in self.scalars and key not in self.histograms:
            self._start(metric, key)
        return key

    def _start(self, metric: Metric, key: Key) -> None:
        """Starts a series, and its siblings at 0, since rates need a sample before the first event."""
        known = [label for label in metric.labels if label.values]
        if len(known) != 1:  # with several fixed labels (status and reason), most combinations are impossible
            return self.zero(metric, key)
        for values in product(*(label.values or (value,) for label, value in zip(metric.labels, key[1], strict=True))):
            self.zero(metric, (metric.name, values))
        return None

    def __len__(self) -> int:
        return len(self.scalars) + len(self.histograms)

    def copy(self) -> Series:
        """A copy of figures and exemplars, without the admitted label values."""
        made = Series()
        made.scalars = dict(self.scalars)
        made.histograms = {key: histogram.copy() for key, histogram in self.histograms.items()}
        made.exemplars = dict(self.exemplars)
        return made

    def state(self) -> dict[str, Any]:
        """The figures as JSON, without exemplars; ``from_state`` restores them exactly."""
        return {
            "scalars": [[name, list(values), value] for (name, values), value in self.scalars.items()],
            "histograms": [
                [name, list(values), list(histogram.counts), histogram.total]
                for (name, values), histogram in self.histograms.items()
            ],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Series:
        """Restores figures. Skips metrics that the catalogue no longer has or whose shape changed."""
        made = cls()
        for name, values, value in state["scalars"]:
            if (metric := BY_NAME.get(name)) and len(metric.labels) == len(values):
                made.scalars[(name, tuple(values))] = value
                made.limits.admit(metric, tuple(values))
        for name, values, counts, total in state["histograms"]:
            metric = BY_NAME.get(name)
            if metric and len(metric.labels) == len(values) and len(counts) == len(metric.buckets) + 1:
                made.histograms[(name, tuple(values))] = Histogram(list(counts), total)
                made.limits.admit(metric, tuple(values))
        return made
