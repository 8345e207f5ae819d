"""Limits the values of each label, since series cost memory in every process and in Prometheus."""

from __future__ import annotations

from observability.catalog import Label, Metric

OTHER = "other"


class LabelLimits:
    """Admits the first values of a label up to its limit; later values become ``other``."""

    def __init__(self) -> None:
        self.overflowed = 0
        self._seen: dict[tuple[str, str], set[str]] = {}

    def bound(self, metric: Metric, label: Label, value: str) -> str:
        """The value to record.

        Raises:
            ValueError: the label has a fixed set of values, and this isn't one of them.
        """
        if label.values:
            if value in label.values:
                return str(value)
            raise ValueError(f"{metric.name}: {label.name}={value!r} is not one of {', '.join(label.values)}")
        seen = self._seen.setdefault((metric.name, label.name), set())
        if value in seen or value == OTHER:
            return value
        if len(seen) < label.limit:
            seen.add(value)
            return value
        self.overflowed += 1
        return OTHER

    def admit(self, metric: Metric, values: tuple[str, ...]) -> None:
        """Admits the label values of a restored series, which were admitted before."""
        for label, value in zip(metric.labels, values, strict=True):
            if not label.values and value != OTHER:
                self._seen.setdefault((metric.name, label.name), set()).add(value)
