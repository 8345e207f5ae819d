"""Pushes a process's snapshots to a sink at intervals, and once at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread

from observability.metrics import Metrics, Snapshot

log = logging.getLogger(__name__)


class Reporter:
    """Reports in a thread; a context manager.

    Args:
        metrics: the metrics to report.
        sink: receives snapshots (``Aggregator.ingest``, or a call of its actor); may raise.
        interval_s: seconds between two snapshots.
        sample: called before each snapshot to update gauges (``SystemSampler.sample``); may raise. The snapshot then
            has the gauges of the last one.
    """

    def __init__(
        self,
        metrics: Metrics,
        sink: Callable[[Snapshot], object],
        interval_s: float = 5.0,
        sample: Callable[[], None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._sink = sink
        self._interval_s = interval_s
        self._sample = sample
        self._stop = Event()
        self._failing: set[str] = set()
        self._thread = Thread(target=self._loop, name="metrics-reporter", daemon=True)

    def start(self) -> Reporter:
        self._thread.start()
        return self

    def flush(self) -> bool:
        """Pushes a snapshot now. False if the sink failed; the next snapshot then contains everything."""
        return self._push(final=False)

    def close(self, attempts: int = 5, pause_s: float = 0.2) -> None:
        """Stops and pushes the final snapshot, with retries.

        Raises:
            ConnectionError: all attempts failed; the figures of the last interval are lost.
        """
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
        for attempt in range(attempts):
            if self._push(final=True):
                return
            if attempt + 1 < attempts:
                Event().wait(pause_s)
        raise ConnectionError(f"cannot deliver the final metrics of {self._metrics.process}")

    def __enter__(self) -> Reporter:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._push(final=False)

    def _push(self, final: bool) -> bool:
        if self._sample:
            self._attempt("sample", self._sample)
        return self._attempt("deliver", lambda: self._sink(self._metrics.snapshot(final)))

    def _attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Whether it succeeded. Of failures in a row, only the first is logged."""
        try:
            act()
        except Exception as error:  # the sink is remote and may raise anything; reporting must continue
            if what not in self._failing:
                log.warning("cannot %s the metrics of %s, will retry: %s", what, self._metrics.process, error)
            self._failing.add(what)
            return False
        self._failing.discard(what)
        return True
