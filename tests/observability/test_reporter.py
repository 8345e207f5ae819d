"""The reporter: what was counted arrives, even over a sink that fails now and then."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from observability import catalog as c
from observability.aggregator import Aggregator
from observability.metrics import Metrics, Snapshot
from observability.reporter import Reporter


class Flaky:
    """A sink that fails its first calls, then delivers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.aggregator = Aggregator()
        self.delivered = Event()

    def __call__(self, snapshot: Snapshot) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no route to the aggregator")
        self.aggregator.ingest(snapshot)
        self.delivered.set()


def counted(aggregator: Aggregator) -> float | None:
    return aggregator.values().value(c.MODEL_INTERRUPTED)


def test_reports_by_itself_and_at_the_end():
    metrics, sink, sampled = Metrics("replica"), Flaky(0), []
    with Reporter(metrics, sink, interval_s=0.01, sample=lambda: sampled.append(1)):
        metrics.inc(c.MODEL_INTERRUPTED, model="m")
        assert sink.delivered.wait(10)
        metrics.inc(c.MODEL_INTERRUPTED, model="m")
    assert counted(sink.aggregator) == 2
    assert len(sampled) >= 2
    assert sink.aggregator.values().value(c.SYSTEM_METRICS_PROCESSES) == 0


def test_nothing_is_lost_when_the_sink_fails(caplog):
    metrics, sink = Metrics("replica"), Flaky(3)
    reporter = Reporter(metrics, sink, interval_s=60)
    metrics.inc(c.MODEL_INTERRUPTED, model="m")
    with caplog.at_level(logging.WARNING):
        assert not reporter.flush()
        assert not reporter.flush()
    assert len(caplog.records) == 1  # an outage is one line, not one a try
    metrics.inc(c.MODEL_INTERRUPTED, model="m")
    reporter.close(pause_s=0)
    assert counted(sink.aggregator) == 2


def test_close_says_when_the_last_figures_could_not_be_delivered():
    reporter = Reporter(Metrics("replica"), Flaky(99), interval_s=60).start()
    with pytest.raises(ConnectionError, match="final metrics of replica"):
        reporter.close(attempts=2, pause_s=0)


def test_figures_are_delivered_when_the_machine_cannot_be_sampled(caplog):
    def sample() -> None:
        raise OSError("no /proc")

    metrics, sink = Metrics("replica"), Flaky(0)
    reporter = Reporter(metrics, sink, interval_s=60, sample=sample)
    metrics.inc(c.MODEL_INTERRUPTED, model="m")
    with caplog.at_level(logging.WARNING):
        assert reporter.flush()
        reporter.close(pause_s=0)
    assert counted(sink.aggregator) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "cannot sample the metrics of replica, will retry: no /proc"
    ]
