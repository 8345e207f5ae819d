"""The recorder of one process."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from observability import catalog as c
from observability.metrics import Metrics
from observability.series import Series, bucket_of


def test_counts_sets_and_observes():
    metrics = Metrics("replica", incarnation="one", clock=lambda: 7.0)
    metrics.inc(c.MODEL_TOKENS, 3, model="m", kind="prompt")
    metrics.inc(c.MODEL_TOKENS, model="m", kind="prompt")
    metrics.set(c.MODEL_RUNNING, 5, model="m")
    metrics.observe(c.MODEL_TTFT_SECONDS, 0.3, exemplar="abc", model="m")
    snapshot = metrics.snapshot()
    assert (snapshot.process, snapshot.incarnation, snapshot.sequence, snapshot.at) == ("replica", "one", 1, 7.0)
    assert snapshot.series.scalars[(c.MODEL_TOKENS.name, ("m", "prompt"))] == 4
    assert snapshot.series.scalars[(c.MODEL_RUNNING.name, ("m",))] == 5
    histogram = snapshot.series.histograms[(c.MODEL_TTFT_SECONDS.name, ("m",))]
    assert (histogram.count, histogram.total) == (1, 0.3)
    index = bucket_of(c.MODEL_TTFT_SECONDS, 0.3)
    assert c.MODEL_TTFT_SECONDS.buckets[index] == 0.5
    assert histogram.counts[index] == 1
    assert histogram.exemplars == {index: ("abc", 0.3, 7.0)}


def test_bucket_bounds_are_inclusive_and_the_last_is_open():
    assert bucket_of(c.MODEL_TTFT_SECONDS, 0.001) == 0
    assert bucket_of(c.MODEL_TTFT_SECONDS, 1e9) == len(c.MODEL_TTFT_SECONDS.buckets)


def test_siblings_of_known_values_start_at_zero():
    metrics = Metrics()
    metrics.inc(c.MODEL_TOKENS, model="m", kind="prompt")
    scalars = metrics.snapshot().series.scalars
    assert scalars[(c.MODEL_TOKENS.name, ("m", "completion"))] == 0
    assert scalars[(c.MODEL_TOKENS.name, ("m", "cached"))] == 0


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"kind": "prompt"}, "needs the label model"),
        ({"model": "m", "kind": "prompt", "user": "u"}, "has no label user"),
        ({"model": "m", "kind": "thoughts"}, "not one of prompt, completion, cached"),
    ],
)
def test_labels_are_checked(labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        Metrics().inc(c.MODEL_TOKENS, 1, **labels)


def test_kinds_and_values_are_checked():
    metrics = Metrics()
    with pytest.raises(ValueError, match="cannot change by -1"):
        metrics.inc(c.MODEL_TOKENS, -1, model="m", kind="prompt")
    with pytest.raises(ValueError, match="not a gauge"):
        metrics.set(c.MODEL_TOKENS, 1, model="m", kind="prompt")
    with pytest.raises(ValueError, match="use observe"):
        metrics.inc(c.MODEL_TTFT_SECONDS, 1, model="m")
    with pytest.raises(ValueError, match="not a histogram"):
        metrics.observe(c.MODEL_RUNNING, 1, model="m")
    with pytest.raises(ValueError, match="not a number"):
        metrics.observe(c.MODEL_TTFT_SECONDS, float("nan"), model="m")
    with pytest.raises(ValueError, match="not in the catalogue"):
        metrics.inc(c.Metric("flightloop_model_mine_total", c.Kind.COUNTER, c.Tier.MODEL, "Mine."))
    assert len(metrics.snapshot().series) == 0


def test_a_label_left_out_takes_its_default():
    metrics = Metrics()
    metrics.observe(c.MODEL_CONFIDENCE, 0.9)
    metrics.observe(c.MODEL_CONFIDENCE, 0.9, model="m")
    assert {key[1] for key in metrics.snapshot().series.histograms} == {("unknown",), ("m",)}


def test_values_over_the_limit_become_other():
    metrics = Metrics()
    limit = c.TOOL_TAINTED.labels[0].limit
    for number in range(limit + 5):
        metrics.inc(c.TOOL_TAINTED, tool=f"tool{number}")
    metrics.inc(c.TOOL_TAINTED, tool="tool0")
    scalars = metrics.snapshot().series.scalars
    assert len(scalars) == limit + 1
    assert scalars[(c.TOOL_TAINTED.name, ("other",))] == 5
    assert scalars[(c.TOOL_TAINTED.name, ("tool0",))] == 2


def test_threads_lose_nothing():
    metrics = Metrics()

    def work(_: int) -> None:
        for _ in range(500):
            metrics.inc(c.MODEL_INTERRUPTED, model="m")
            metrics.observe(c.MODEL_ENTROPY, 1.0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    series = metrics.snapshot().series
    assert series.scalars[(c.MODEL_INTERRUPTED.name, ("m",))] == 4000
    assert series.histograms[(c.MODEL_ENTROPY.name, ("unknown",))].count == 4000


def test_a_snapshot_is_picklable_and_stays_as_it_was():
    metrics = Metrics()
    metrics.observe(c.MODEL_ENTROPY, 1.0, exemplar="t")
    first = metrics.snapshot()
    metrics.observe(c.MODEL_ENTROPY, 1.0)
    again = pickle.loads(pickle.dumps(first))
    key = (c.MODEL_ENTROPY.name, ("unknown",))
    assert first.series.histograms[key].count == again.series.histograms[key].count == 1
    assert metrics.snapshot().sequence == 2


def test_state_of_another_catalogue_is_left_out():
    state = {
        "scalars": [["flightloop_gone_total", [], 3.0], [c.MODEL_RUNNING.name, ["a", "b"], 1.0]],
        "histograms": [[c.MODEL_ENTROPY.name, ["m"], [1, 2], 3.0]],
    }
    assert len(Series.from_state(state)) == 0
