"""Merges the series of several processes (or tenants) into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from observability.catalog import BY_NAME, Kind, Merge, Metric
from observability.limits import LabelLimits
from observability.series import Key, Series


def merge(parts: Iterable[Series], limits: LabelLimits, stale: Iterable[Series] = ()) -> Series:
    """Merges counters and histograms of all parts, and gauges of ``parts`` only, by each metric's rule.

    Args:
        parts: series of live processes.
        limits: bounds the label values over all parts. Reuse one object to keep the choice stable.
        stale: series of processes whose gauges have expired.

    Raises:
        ValueError: labels that the catalogue doesn't allow, recorded by another version.
    """
    made = Series()
    gauges: dict[Key, list[float]] = {}
    for series in stale:
        _add_cumulative(made, series, limits)
    for series in parts:
        _add_cumulative(made, series, limits)
        for metric, key, value in _scalars(series, limits):
            if metric.kind is Kind.GAUGE:
                gauges.setdefault(key, []).append(value)
    for key, values in gauges.items():
        made.scalars[key] = _merged(BY_NAME[key[0]].merge, values)
    return made


def _add_cumulative(made: Series, series: Series, limits: LabelLimits) -> None:
    for metric, key, value in _scalars(series, limits):
        if metric.kind is Kind.COUNTER:
            made.scalars[key] = made.scalars.get(key, 0.0) + value
    for (name, values), exemplar in series.exemplars.items():
        if (known := BY_NAME.get(name)) is not None:
            key = _bounded(known, values, limits)
            if key not in made.exemplars or made.exemplars[key].at <= exemplar.at:
                made.exemplars[key] = exemplar
    for (name, values), histogram in series.histograms.items():
        declared = BY_NAME.get(name)
        if declared and len(histogram.counts) == len(declared.buckets) + 1:
            key = _bounded(declared, values, limits)
            made.zero(declared, key)
            made.histograms[key].add(histogram)


def _scalars(series: Series, limits: LabelLimits) -> Iterator[tuple[Metric, Key, float]]:
    for (name, values), value in series.scalars.items():
        if metric := BY_NAME.get(name):
            yield metric, _bounded(metric, values, limits), value


def _bounded(metric: Metric, values: tuple[str, ...], limits: LabelLimits) -> Key:
    bound = (limits.bound(metric, label, value) for label, value in zip(metric.labels, values, strict=True))
    return metric.name, tuple(bound)


def _merged(rule: Merge, values: list[float]) -> float:
    if rule is Merge.MAX:
        return max(values)
    return sum(values) / len(values) if rule is Merge.MEAN else sum(values)
