"""The console's figures: right by hand, null where nobody reported."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability import catalog as c
from observability.aggregator import Aggregator
from observability.config import BusinessConfig, ObservabilityConfig
from observability.fakes import record_everything
from observability.figures import overview
from observability.metrics import Metrics
from observability.values import Values


def values_of(metrics: Metrics) -> Values:
    aggregator = Aggregator()
    aggregator.ingest(metrics.snapshot())
    return aggregator.values()


def numbers(node: object) -> list[float]:
    if isinstance(node, dict):
        return [number for below in node.values() for number in numbers(below)]
    return [] if node is None or isinstance(node, str) else [float(node)]


def test_nothing_reported_is_null_and_json():
    figures = overview(Aggregator().values())
    assert figures["business"]["completion_rate"] is None
    assert figures["business"]["satisfaction"]["csat"] is None
    assert figures["business"]["roi"]["ratio"] is None
    assert figures["model"]["ttft"] == {"p50": None, "p95": None}
    assert figures["system"]["gpu_utilisation"] is None
    json.dumps(figures, allow_nan=False)


def test_everything_reported_leaves_no_gap():
    metrics = Metrics("replica")
    record_everything(metrics)
    figures = overview(values_of(metrics))

    def gaps(node: object, path: str = "") -> list[str]:
        if isinstance(node, dict):
            return [gap for key, below in node.items() for gap in gaps(below, f"{path}/{key}")]
        return [path] if node is None else []

    assert gaps(figures) == []
    json.dumps(figures, allow_nan=False)


def test_business_by_hand():
    metrics = Metrics("journal")
    for outcome, count in {"verified": 5, "assumed": 2, "failed": 1, "escalated": 2}.items():
        metrics.set(c.BUSINESS_RUNS, count, agent="a", outcome=outcome)
    for score, count in {"5": 2, "4": 1, "1": 1}.items():
        metrics.set(c.BUSINESS_RATINGS, count, agent="a", score=score)
    metrics.set(c.BUSINESS_RESOLVED, 3, agent="a", resolved="yes")
    metrics.set(c.BUSINESS_RESOLUTIONS, 6, agent="a")
    metrics.inc(c.BUSINESS_COST_EUROS, 2, agent="a")
    metrics.set(c.BUSINESS_PERIOD_SECONDS, 7200)
    inputs = BusinessConfig("v2", human_cost_per_conversation=5, platform_cost_per_hour=4)
    business = overview(values_of(metrics), business=inputs)["business"]
    assert business["completion_rate"] == 0.5
    assert business["assumed_rate"] == 0.2
    assert business["containment_rate"] == 0.8
    assert business["satisfaction"] == {
        "csat": 0.75,
        "mean_score": 3.75,
        "ratings": 4,
        "response_rate": 0.4,
        "resolved_rate": 0.75,
    }
    assert business["cost"] == {"model": 2, "platform": 8, "total": 10, "period_seconds": 7200}
    assert business["cost_per_resolution"] == pytest.approx(10 / 6)
    assert business["roi"]["ratio"] == pytest.approx((6 * 5 - 10) / 10)
    assert business["roi"]["inputs"]["version"] == "v2"


def test_model_and_system_by_hand():
    metrics = Metrics("replica")
    metrics.inc(c.MODEL_TOKENS, 80, model="m", kind="prompt")
    metrics.inc(c.MODEL_TOKENS, 20, model="m", kind="cached")
    for expert, tokens in {"0": 30, "1": 10, "2": 20}.items():
        metrics.inc(c.MODEL_EXPERT_TOKENS, tokens, model="m", expert=expert)
    metrics.inc(c.SYSTEM_HTTP_REQUESTS, 9, route="/r", method="GET", status="200")
    metrics.inc(c.SYSTEM_HTTP_REQUESTS, 1, route="/r", method="GET", status="503")
    figures = overview(values_of(metrics))
    assert figures["model"]["cache_hit_rate"] == 0.25
    assert figures["model"]["expert_shares"] == {"0": 0.5, "1": pytest.approx(1 / 6), "2": pytest.approx(1 / 3)}
    assert figures["model"]["expert_imbalance"] == 1.5
    assert (figures["system"]["http"]["requests"], figures["system"]["http"]["server_errors"]) == (10, 1)


def test_one_tenants_journal_takes_the_place_of_all():
    everybody, mine = Metrics("journal"), Metrics("journal")
    everybody.inc(c.RUN_CREATED, 10, agent="a")
    mine.inc(c.RUN_CREATED, 3, agent="a")
    assert overview(values_of(everybody), Values(mine.snapshot().series))["runs"]["created"] == 3


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(observations, share):
    metrics = Metrics()
    for value in observations:
        metrics.observe(c.MODEL_TTFT_SECONDS, value, model="m")
    values = Values(metrics.snapshot().series)
    rank = max(min(int(-(-share * len(observations) // 1)), len(observations)), 1)
    true = sorted(observations)[rank - 1]
    bounds = c.MODEL_TTFT_SECONDS.buckets
    upper = next((bound for bound in bounds if true <= bound), bounds[-1])
    lower = max((bound for bound in bounds if bound < true), default=0.0)
    assert min(lower, bounds[-1]) - 1e-9 <= values.quantile(c.MODEL_TTFT_SECONDS, share) <= upper + 1e-9


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"platform_cost_per_hour": -1}, "platform_cost_per_hour"),
        ({"human_cost_per_conversation": float("nan")}, "human_cost_per_conversation"),
    ],
)
def test_bad_costs_are_named(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        BusinessConfig(**settings)


def test_intervals_must_fit():
    with pytest.raises(ValueError, match="interval_s"):
        ObservabilityConfig(interval_s=60, expiry_s=30)


def test_token_prices():
    prices = BusinessConfig(prompt_cost_per_1k_tokens=0.5, completion_cost_per_1k_tokens=2)
    assert prices.model_cost(2000, 500) == 2.0
