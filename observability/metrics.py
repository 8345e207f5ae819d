"""The recorder of one process. Passed as an argument, never global; safe to use from any thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from uuid import uuid4

from observability.catalog import Metric
from observability.series import Exemplar, Series


@dataclass(frozen=True)
class Snapshot:
    """All figures of a process, cumulative since it began. Picklable; ``series`` is a copy of its own.

    ``sequence`` grows with every snapshot, so that a late one is told from a new one. ``final`` says that
    the process ends: nothing follows. ``at`` is in seconds since the epoch.
    """

    process: str
    incarnation: str
    sequence: int
    at: float
    series: Series
    final: bool = False


class Metrics:
    """Counts what happens in a process.

    Args:
        process: the process's role (``api``, ``worker``, ``replica`` …).
        incarnation: an id that no other start of a process shares; made up if not given.
        clock: seconds since the epoch.
    """

    def __init__(
        self, process: str = "process", incarnation: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.process = process
        self.incarnation = incarnation or uuid4().hex
        self._clock = clock
        self._lock = Lock()
        self._series = Series()
        self._sequence = 0

    def inc(self, metric: Metric, amount: float = 1.0, /, exemplar: str | None = None, **labels: str) -> None:
        """Adds to a counter (or moves a gauge). ``exemplar`` is a trace id.

        Raises:
            ValueError: wrong labels, wrong kind of metric, or a negative amount for a counter.
        """
        with self._lock:
            self._series.inc(metric, amount, labels, self._exemplar(exemplar, amount))

    def set(self, metric: Metric, value: float, /, **labels: str) -> None:
        """Sets a gauge. Raises ValueError for wrong labels or another kind of metric."""
        with self._lock:
            self._series.set(metric, value, labels)

    def observe(self, metric: Metric, value: float, /, exemplar: str | None = None, **labels: str) -> None:
        """Adds an observation to a histogram, in the metric's unit. ``exemplar`` is a trace id.

        Raises:
            ValueError: wrong labels, another kind of metric, or not a number.
        """
        with self._lock:
            self._series.observe(metric, value, labels, self._exemplar(exemplar, value))

    def snapshot(self, final: bool = False) -> Snapshot:
        with self._lock:
            self._sequence += 1
            return Snapshot(self.process, self.incarnation, self._sequence, self._clock(), self._series.copy(), final)

    def _exemplar(self, trace_id: str | None, value: float) -> Exemplar | None:
        return Exemplar(trace_id, value, self._clock()) if trace_id else None
