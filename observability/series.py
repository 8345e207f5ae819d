"""A store of series: the figures of one process, of one journal, or of all of them together.

Plain data, not thread-safe, JSON in and out. Keys are ``(metric name, label values in the metric's order)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from observability.catalog import BY_NAME, Kind, Metric

OTHER = "other"
Key = tuple[str, tuple[str, ...]]


class Exemplar(NamedTuple):
    """A trace that shows what a figure means. ``at`` is in seconds since the epoch."""

    trace_id: str
    value: float
    at: float


@dataclass
class Histogram:
    """``counts`` per bucket, not cumulative, the last one for infinity; exemplars by bucket index."""

    counts: list[int]
    total: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def copy(self) -> Histogram:
        return Histogram(list(self.counts), self.total, dict(self.exemplars))

    def add(self, other: Histogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.exemplars |= {
            index: exemplar
            for index, exemplar in other.exemplars.items()
            if index not in self.exemplars or self.exemplars[index].at <= exemplar.at
        }


def bucket_of(metric: Metric, value: float) -> int:
    """Index of the first bucket whose upper bound is at least ``value``; the last is infinity."""
    for index, bound in enumerate(metric.buckets):
        if value <= bound:
            return index
    return len(metric.buckets)


class Series:
    """Scalars and histograms by key. What a metric may hold is checked against the catalogue."""

    def __init__(self) -> None:
        self.scalars: dict[Key, float] = {}
        self.histograms: dict[Key, Histogram] = {}
        self.exemplars: dict[Key, Exemplar] = {}
        self.overflowed = 0
        self._seen: dict[tuple[str, str], set[str]] = {}

    def key(self, metric: Metric, labels: dict[str, str]) -> Key:
        """The key of a series; sets up its siblings that are known beforehand at 0.

        Raises:
            ValueError: not a metric of the catalogue, or labels that aren't exactly the metric's.
        """
        if BY_NAME.get(metric.name) is not metric and BY_NAME.get(metric.name) != metric:
            raise ValueError(f"{metric.name} is not in the catalogue")
        names = metric.label_names
        if unknown := set(labels) - set(names):
            raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}; it has {', '.join(names)}")
        values = []
        for label in metric.labels:
            value = labels.get(label.name, label.default)
            if value is None:
                raise ValueError(f"{metric.name} needs the label {label.name}")
            values.append(self._bounded(metric, label.name, str(value)))
        key = (metric.name, tuple(values))
        if key not in self.scalars and key not in self.histograms:
            self._start(metric, key)
        return key

    def _bounded(self, metric: Metric, label_name: str, value: str) -> str:
        label = next(label for label in metric.labels if label.name == label_name)
        if label.values:
            if value in label.values:
                return value
            raise ValueError(f"{metric.name}: {label_name}={value!r} is none of {', '.join(label.values)}")
        seen = self._seen.setdefault((metric.name, label_name), set())
        if value in seen or value == OTHER:
            return value
        if len(seen) < label.limit:
            seen.add(value)
            return value
        self.overflowed += 1
        return OTHER

    def _start(self, metric: Metric, key: Key) -> None:
        if metric.kind is Kind.GAUGE and not any(label.values for label in metric.labels):
            self.scalars[key] = 0.0
            return
        axes = [label.values or (value,) for label, value in zip(metric.labels, key[1], strict=True)]
        # The product of many known values (statuses x reasons) would be mostly impossible pairs.
        known = [label for label in metric.labels if label.values]
        for values in product(*axes) if len(known) <= 1 else [key[1]]:
            self._zero(metric, (metric.name, values))

    def _zero(self, metric: Metric, key: Key) -> None:
        if metric.kind is Kind.HISTOGRAM:
            self.histograms.setdefault(key, Histogram([0] * (len(metric.buckets) + 1)))
        else:
            self.scalars.setdefault(key, 0.0)

    def initialise(self, metric: Metric) -> None:
        """Sets up at 0 what is known beforehand: every combination, if all labels are known."""
        if all(label.values for label in metric.labels):
            for values in product(*(label.values for label in metric.labels)):
                self._zero(metric, (metric.name, values))

    def inc(self, metric: Metric, amount: float, labels: dict[str, str], exemplar: Exemplar | None = None) -> None:
        """Adds to a counter, or moves a gauge (then ``amount`` may be negative)."""
        if metric.kind is Kind.HISTOGRAM:
            raise ValueError(f"{metric.name} is a histogram")
        if metric.kind is Kind.COUNTER and not amount >= 0:
            raise ValueError(f"{metric.name} is a counter: it can't change by {amount}")
        key = self.key(metric, labels)
        self.scalars[key] += amount
        if exemplar:
            self.exemplars[key] = exemplar

    def set(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        if metric.kind is not Kind.GAUGE:
            raise ValueError(f"{metric.name} is no gauge")
        self.scalars[self.key(metric, labels)] = float(value)

    def observe(self, metric: Metric, value: float, labels: dict[str, str], exemplar: Exemplar | None = None) -> None:
        if metric.kind is not Kind.HISTOGRAM:
            raise ValueError(f"{metric.name} is no histogram")
        if value != value:
            raise ValueError(f"{metric.name}: not a number")
        histogram = self.histograms[self.key(metric, labels)]
        index = bucket_of(metric, value)
        histogram.counts[index] += 1
        histogram.total += value
        if exemplar:
            histogram.exemplars[index] = exemplar

    def __iter__(self) -> Iterator[Key]:
        yield from self.scalars
        yield from self.histograms

    def __len__(self) -> int:
        return len(self.scalars) + len(self.histograms)

    def copy(self) -> Series:
        made = Series()
        made.scalars = dict(self.scalars)
        made.histograms = {key: histogram.copy() for key, histogram in self.histograms.items()}
        made.exemplars = dict(self.exemplars)
        made.overflowed = self.overflowed
        made._seen = {key: set(values) for key, values in self._seen.items()}
        return made

    def state(self) -> dict[str, Any]:
        """Everything as JSON; ``from_state`` brings it back exactly."""
        return {
            "scalars": [[name, list(values), value] for (name, values), value in self.scalars.items()],
            "histograms": [
                [name, list(values), list(histogram.counts), histogram.total]
                for (name, values), histogram in self.histograms.items()
            ],
            "overflowed": self.overflowed,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Series:
        """Series of metrics that the catalogue no longer has, or whose shape changed, are left out."""
        made = cls()
        for name, values, value in state["scalars"]:
            if (metric := BY_NAME.get(name)) and len(metric.labels) == len(values):
                made.scalars[(name, tuple(values))] = value
                made._remember(metric, values)
        for name, values, counts, total in state["histograms"]:
            metric = BY_NAME.get(name)
            if metric and len(metric.labels) == len(values) and len(counts) == len(metric.buckets) + 1:
                made.histograms[(name, tuple(values))] = Histogram(list(counts), total)
                made._remember(metric, values)
        made.overflowed = state.get("overflowed", 0)
        return made

    def _remember(self, metric: Metric, values: list[str]) -> None:
        for label, value in zip(metric.labels, values, strict=True):
            if not label.values and value != OTHER:
                self._seen.setdefault((metric.name, label.name), set()).add(value)
