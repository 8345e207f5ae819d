"""The aggregator: exact sums whatever happens to snapshots and processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from observability import catalog as c
from observability.aggregator import Aggregator
from observability.fakes import record_everything
from observability.limits import OTHER
from observability.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def interrupted(aggregator: Aggregator) -> float:
    return aggregator.values().value(c.MODEL_INTERRUPTED) or 0.0


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(0, 3), st.integers(1, 9)),
        st.tuples(st.just("send"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("repeat an old one"), st.integers(0, 3), st.integers(0, 5)),
        st.tuples(st.just("restart"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("time"), st.just(0), st.integers(1, 40)),
    ),
    max_size=60,
)


@given(OPERATIONS, st.integers(1, 4))
def test_sums_equal_what_was_delivered(operations, remember):
    """Against a naive sum; processes restart without a word, snapshots come late and twice."""
    clock = Clock()
    aggregator = Aggregator(expiry_s=30, remember=remember, clock=clock)
    alive = {index: Metrics("test") for index in range(4)}
    sent: dict[str, list] = {}
    best: dict[str, int] = {}
    total: dict[str, float] = {}
    for name, index, number in operations:
        metrics = alive[index]
        if name == "count":
            metrics.inc(c.MODEL_INTERRUPTED, number, model="m")
            total[metrics.incarnation] = total.get(metrics.incarnation, 0) + number
        elif name == "send":
            snapshot = metrics.snapshot()
            sent.setdefault(metrics.incarnation, []).append((snapshot, total.get(metrics.incarnation, 0)))
            if aggregator.ingest(snapshot):
                best[metrics.incarnation] = total.get(metrics.incarnation, 0)
        elif name == "repeat an old one" and sent.get(metrics.incarnation):
            snapshot, _ = sent[metrics.incarnation][number % len(sent[metrics.incarnation])]
            aggregator.ingest(snapshot)
        elif name == "restart":
            alive[index] = Metrics("test")
        elif name == "time":
            clock.now += number
        assert interrupted(aggregator) == sum(best.values())


@given(st.permutations(range(6)))
def test_order_of_snapshots_does_not_matter(order):
    metrics = Metrics("test")
    snapshots = []
    for _ in range(6):
        metrics.inc(c.MODEL_INTERRUPTED, model="m")
        snapshots.append(metrics.snapshot())
    aggregator = Aggregator()
    for index in order:
        aggregator.ingest(snapshots[index])
    assert interrupted(aggregator) == 6


def test_gauges_expire_and_counters_stay():
    clock = Clock()
    aggregator, metrics = Aggregator(expiry_s=30, clock=clock), Metrics("replica")
    metrics.set(c.MODEL_RUNNING, 4, model="m")
    metrics.inc(c.MODEL_INTERRUPTED, 2, model="m")
    aggregator.ingest(metrics.snapshot())
    clock.now += 30
    assert aggregator.values().value(c.MODEL_RUNNING) == 4
    clock.now += 1
    values = aggregator.values()
    assert values.value(c.MODEL_RUNNING) is None
    assert values.value(c.MODEL_INTERRUPTED) == 2
    assert values.value(c.SYSTEM_METRICS_PROCESSES) == 0
    aggregator.ingest(metrics.snapshot())  # it only had been stopped for a while
    assert aggregator.values().value(c.MODEL_RUNNING) == 4
    assert interrupted(aggregator) == 2


def test_a_final_snapshot_ends_the_gauges_at_once_and_nothing_follows():
    aggregator, metrics = Aggregator(), Metrics("replica")
    metrics.set(c.MODEL_RUNNING, 4, model="m")
    metrics.inc(c.MODEL_INTERRUPTED, 2, model="m")
    assert aggregator.ingest(metrics.snapshot(final=True))
    assert aggregator.values().value(c.MODEL_RUNNING) is None
    assert interrupted(aggregator) == 2
    assert not aggregator.ingest(metrics.snapshot())


def test_the_longest_silent_are_folded_and_then_rejected():
    clock = Clock()
    aggregator = Aggregator(expiry_s=10, remember=2, clock=clock)
    processes = [Metrics("replica") for _ in range(5)]
    for metrics in processes:
        metrics.inc(c.MODEL_INTERRUPTED, model="m")
        aggregator.ingest(metrics.snapshot())
        clock.now += 11
    aggregator.ingest(Metrics("new").snapshot())
    assert interrupted(aggregator) == 5
    assert not aggregator.ingest(processes[0].snapshot())
    assert aggregator.values().value(c.SYSTEM_METRICS_SNAPSHOTS, result="rejected") == 1
    assert aggregator.ingest(processes[-1].snapshot())
    assert interrupted(aggregator) == 5


def test_gauges_merge_by_their_rule():
    aggregator = Aggregator()
    for running, used, latched in ((3, 0.2, 0), (5, 0.6, 1)):
        metrics = Metrics("replica")
        metrics.set(c.MODEL_RUNNING, running, model="m")
        metrics.set(c.MODEL_KV_USED_RATIO, used, model="m")
        metrics.set(c.GUARDRAIL_INTERRUPT_LATCHED, latched)
        aggregator.ingest(metrics.snapshot())
    values = aggregator.values()
    assert values.value(c.MODEL_RUNNING) == 8
    assert values.value(c.MODEL_KV_USED_RATIO) == pytest.approx(0.4)
    assert values.value(c.GUARDRAIL_INTERRUPT_LATCHED) == 1


def test_label_limits_hold_over_all_processes():
    aggregator = Aggregator()
    limit = c.TOOL_TAINTED.labels[0].limit
    for process in range(3):
        metrics = Metrics("worker")
        for number in range(limit):
            metrics.inc(c.TOOL_TAINTED, tool=f"tool{process}-{number}")
        aggregator.ingest(metrics.snapshot())
    by_tool = aggregator.values().by(c.TOOL_TAINTED, "tool")
    assert len(by_tool) == limit + 1
    assert by_tool["other"] == 2 * limit
    assert aggregator.values().by(c.TOOL_TAINTED, "tool") == by_tool


def test_a_snapshot_that_the_catalogue_does_not_allow_is_rejected():
    aggregator, metrics = Aggregator(), Metrics("older version")
    snapshot = metrics.snapshot()
    snapshot.series.scalars[(c.MODEL_TOKENS.name, ("m", "a kind of its own"))] = 1.0
    assert not aggregator.ingest(snapshot)
    assert aggregator.values().value(c.MODEL_TOKENS) is None
    unknown = replace(metrics.snapshot())
    unknown.series.scalars[("flightloop_gone_total", ())] = 1.0
    assert aggregator.ingest(unknown)  # a metric that is gone does no harm
    assert b"gone" not in aggregator.render()


def test_both_expositions_parse_and_only_openmetrics_has_exemplars():
    aggregator, metrics = Aggregator(), Metrics("test")
    record_everything(metrics)
    aggregator.ingest(metrics.snapshot())
    text, content_type = aggregator.expose("text/plain")
    assert content_type.startswith("text/plain")
    assert b"trace_id" not in text
    plain = {family.name: family for family in parse_text(text.decode())}
    families = {family.name: family for family in parse_openmetrics(aggregator.render(openmetrics=True).decode())}
    assert len(families) == len(plain) == len(c.CATALOG)
    seen = families[c.MODEL_TTFT_SECONDS.name]
    assert [sample.exemplar.labels for sample in seen.samples if sample.exemplar]
    counts = [sample.value for sample in seen.samples if sample.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == 1
    assert aggregator.expose("application/openmetrics-text; version=1.0.0")[1].startswith(
        "application/openmetrics-text"
    )


def test_known_series_are_there_before_anything_happened():
    values = Aggregator().values()
    assert values.value(c.GUARDRAIL_APPROVALS, decision="deny") == 0
    assert values.value(c.GUARDRAIL_INTERRUPTS, scope="all") == 0
    assert values.value(c.MODEL_TOKENS) is None


def test_exemplars_obey_the_limits_of_labels() -> None:
    """Processes that come and go, each with an agent of its own, and the aggregator remembers one of them."""
    clock = Clock()
    aggregator = Aggregator(remember=1, clock=clock)
    for number in range(2 * c.AGENT.limit):
        metrics = Metrics("worker")
        metrics.inc(c.BUSINESS_COST_EUROS, 1.0, exemplar=f"{number:032x}", agent=f"agent-{number}")
        aggregator.ingest(metrics.snapshot(final=True))
    series = aggregator.values().series
    labels = {labels for name, labels in series.scalars if name == c.BUSINESS_COST_EUROS.name}
    assert {labels for _, labels in series.exemplars} == labels
    assert len(labels) == c.AGENT.limit + 1
    assert series.exemplars[c.BUSINESS_COST_EUROS.name, (OTHER,)].trace_id == f"{2 * c.AGENT.limit - 1:032x}"
