"""Formats series as Prometheus text or OpenMetrics (only the latter has exemplars)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as Sample

from observability.catalog import CATALOG, Kind, Metric
from observability.series import Exemplar, Histogram, Key, Series

T = TypeVar("T")


def encode(series: Series, accept: str = "") -> tuple[bytes, str]:
    """The exposition in the format of an ``Accept`` header, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SeriesCollector(series))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _SeriesCollector(Collector):
    def __init__(self, series: Series) -> None:
        self._scalars = _by_name(series.scalars)
        self._histograms = _by_name(series.histograms)
        self._exemplars = series.exemplars

    def collect(self) -> Iterator[Family]:
        for metric in CATALOG:
            if metric.name in self._scalars or metric.name in self._histograms:
                yield self._family(metric)

    def _family(self, metric: Metric) -> Family:
        if metric.kind is Kind.HISTOGRAM:
            histogram_family = HistogramMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for labels, histogram in self._histograms[metric.name]:
                histogram_family.add_metric(labels, _buckets(metric, histogram), histogram.total)
            return histogram_family
        if metric.kind is Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for labels, value in self._scalars[metric.name]:
                gauge.add_metric(labels, value)
            return gauge
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.label_names)
        for labels, value in self._scalars[metric.name]:
            counter.add_metric(labels, value, exemplar=_sample(self._exemplars.get((metric.name, labels))))
        return counter


def _by_name(values: dict[Key, T]) -> dict[str, list[tuple[tuple[str, ...], T]]]:
    grouped: dict[str, list[tuple[tuple[str, ...], T]]] = {}
    for (name, labels), value in values.items():
        grouped.setdefault(name, []).append((labels, value))
    return grouped


def _buckets(metric: Metric, histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Sample]]:
    made: list[tuple[str, float] | tuple[str, float, Sample]] = []
    below = 0
    bounds = (*(repr(float(bound)) for bound in metric.buckets), "+Inf")
    for index, (bound, count) in enumerate(zip(bounds, histogram.counts, strict=True)):
        below += count
        sample = _sample(histogram.exemplars.get(index))
        made.append((bound, below, sample) if sample else (bound, below))
    return made


def _sample(exemplar: Exemplar | None) -> Sample | None:
    return Sample({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.at) if exemplar else None


__all__ = ["OPENMETRICS", "encode"]
