"""Finds catalogue metrics without a value in an exposition."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from observability.catalog import CATALOG, Kind


def without_value(exposition: str) -> set[str]:
    """Names of catalogue metrics without a sample, and of histograms without observations.

    Args:
        exposition: Prometheus text, as returned by ``/metrics``.
    """
    highest: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            highest[sample.name] = max(sample.value, highest.get(sample.name, sample.value))
    observed = {name for name, value in highest.items() if value > 0}
    return {
        metric.name
        for metric in CATALOG
        if (f"{metric.name}_count" not in observed if metric.kind is Kind.HISTOGRAM else metric.name not in highest)
    }
