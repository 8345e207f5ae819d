"""Merges the metrics of a deployment's processes. Thread-safe; independent of Ray, which only wraps it.

Snapshots are cumulative, so lost, late or repeated ones do no harm. A process's counters outlive the
process; its gauges expire.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from observability.catalog import (
    CATALOG,
    SYSTEM_METRICS_AGE_SECONDS,
    SYSTEM_METRICS_PROCESSES,
    SYSTEM_METRICS_SERIES,
    SYSTEM_METRICS_SNAPSHOTS,
)
from observability.exposition import OPENMETRICS, encode
from observability.limits import LabelLimits
from observability.merging import merge
from observability.metrics import Snapshot
from observability.series import Series
from observability.values import Values


@dataclass
class _Reported:
    snapshot: Snapshot
    arrived: float


class Aggregator:
    """Merges snapshots of processes.

    Args:
        expiry_s: seconds without a snapshot after which a process's gauges are dropped.
        remember: number of silent processes that are stored individually. Beyond that, those silent the
            longest are folded into one sum, and their later snapshots are rejected.
        clock: monotonic seconds, so that a suspended laptop doesn't expire every process.
    """

    def __init__(
        self, expiry_s: float = 30.0, remember: int = 256, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._expiry_s = expiry_s
        self._remember = remember
        self._clock = clock
        self._lock = Lock()
        self._reported: OrderedDict[str, _Reported] = OrderedDict()  # in the order of the last snapshot
        self._folded: OrderedDict[str, None] = OrderedDict()
        self._past = Series()
        self._limits = LabelLimits()
        self._own = Series()
        self._own.initialise(CATALOG)

    def ingest(self, snapshot: Snapshot) -> bool:
        """Stores a snapshot. Returns False if it is older than the stored one, its process has ended or was folded,
        or it has labels that this version's catalogue doesn't allow.

        A repeated sequence number replaces the figures and shows that the process is alive.
        """
        with self._lock:
            known = self._reported.get(snapshot.incarnation)
            if snapshot.incarnation in self._folded:
                return self._count("rejected")
            if known and (known.snapshot.final or snapshot.sequence < known.snapshot.sequence):
                return self._count("stale")
            try:
                merge((snapshot.series,), self._limits)
            except ValueError:
                return self._count("rejected")
            self._reported[snapshot.incarnation] = _Reported(snapshot, self._clock())
            self._reported.move_to_end(snapshot.incarnation)
            self._fold()
            return self._count("accepted")

    def values(self) -> Values:
        """All series, merged."""
        with self._lock:
            return Values(self._merged())

    def render(self, openmetrics: bool = False) -> bytes:
        """The exposition as Prometheus text, or as OpenMetrics with exemplars."""
        return self.expose(OPENMETRICS if openmetrics else "")[0]

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition in the format of an ``Accept`` header, and its content type."""
        return encode(self.values().series, accept)

    def _count(self, result: str) -> bool:
        self._own.inc(SYSTEM_METRICS_SNAPSHOTS, 1, {"result": result})
        return result == "accepted"

    def _lives(self, reported: _Reported, now: float) -> bool:
        return not reported.snapshot.final and now - reported.arrived <= self._expiry_s

    def _fold(self) -> None:
        now = self._clock()
        silent = [key for key, reported in self._reported.items() if not self._lives(reported, now)]
        for incarnation in silent[: max(len(silent) - self._remember, 0)]:
            gone = self._reported.pop(incarnation).snapshot.series
            self._past = merge((), self._limits, stale=(self._past, gone))
            self._folded[incarnation] = None
        while len(self._folded) > 64 * self._remember:
            self._folded.popitem(last=False)

    def _merged(self) -> Series:
        now = self._clock()
        living = [reported for reported in self._reported.values() if self._lives(reported, now)]
        silent = [reported.snapshot.series for reported in self._reported.values() if not self._lives(reported, now)]
        made = merge(
            [self._own, *(reported.snapshot.series for reported in living)], self._limits, stale=[self._past, *silent]
        )
        made.set(SYSTEM_METRICS_PROCESSES, len(living), {})
        made.set(SYSTEM_METRICS_AGE_SECONDS, max((now - reported.arrived for reported in living), default=0.0), {})
        made.set(SYSTEM_METRICS_SERIES, len(made) + 1, {})
        return made
