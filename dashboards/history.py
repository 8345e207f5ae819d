"""Recent values of figures, for the small curves on the overview."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from threading import Lock

from dashboards import figures
from flightloop.overview import Overview

KEPT = 120


class History:
    """Samples over time. Thread-safe. Of samples less than a second apart, only one is kept."""

    def __init__(self) -> None:
        self._samples: deque[Overview] = deque(maxlen=KEPT)
        self._lock = Lock()

    def add(self, overview: Overview) -> None:
        with self._lock:
            if not self._samples or (overview.at - self._samples[-1].at).total_seconds() >= 1:
                self._samples.append(overview)

    def curve(self, name: str, reduce: figures.Reduce = sum) -> list[float]:
        """Values of a gauge over time."""
        found = [figures.value(sample, name, reduce) for sample in list(self._samples)]
        return [each for each in found if each is not None]

    def rate(self, name: str, **labels: str) -> list[float]:
        """Growth of a counter per second between samples; 0 across a restart."""
        samples = list(self._samples)
        rates: list[float] = []
        for before, after in pairwise(samples):
            first, second = figures.value(before, name, sum, **labels), figures.value(after, name, sum, **labels)
            passed = (after.at - before.at).total_seconds()
            if first is not None and second is not None and passed > 0:
                rates.append(max(second - first, 0.0) / passed)
        return rates
