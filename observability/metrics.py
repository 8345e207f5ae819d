"""Metrics recorder of a process: thread-safe, and passed as an argument instead of being global."""

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
    """Cumulative figures of a process since its start. Picklable."""

    process: str  # role
    incarnation: str  # distinguishes restarts of the role
    sequence: int  # grows with every snapshot, which orders late ones
    at: float  # seconds since the epoch
    series: Series  # a copy
    final: bool = False  # the process ends: this is its last snapshot


class Metrics:
    """Records the metrics of a process.

    Args:
        process: the process's role (``api``, ``worker``, ``replica`` …).
        incarnation: unique id of this start of the process; generated if not given.
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
