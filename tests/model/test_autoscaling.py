from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.serve.autoscaling import UTILISATION, HoldUtilisation, hold_utilisation

loads = st.floats(0, 50, allow_nan=False)


@dataclass
class Context:
    target_num_replicas: int
    aggregated_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    total_queued_requests: float = 0.0
    capacity_adjusted_min_replicas: int = 1
    capacity_adjusted_max_replicas: int = 4


@given(loads, st.integers(0, 60))
def test_settles_under_the_target_and_stays(busy: float, current: int) -> None:
    policy = HoldUtilisation()
    wanted = policy.replicas(busy, current)
    assert wanted == 0 or busy / wanted <= policy.target + 1e-6
    assert policy.replicas(busy, wanted) == wanted, "the same load must not move it again"


@given(loads, st.integers(1, 60))
def test_shrinks_only_with_room_to_spare(busy: float, current: int) -> None:
    policy = HoldUtilisation()
    wanted = policy.replicas(busy, current)
    if 0 < wanted < current:
        assert busy / wanted <= policy.target - policy.margin


@given(loads, loads, st.integers(1, 60))
def test_more_load_never_asks_for_fewer(a: float, b: float, current: int) -> None:
    policy = HoldUtilisation()
    low, high = sorted((a, b))
    assert policy.replicas(low, current) <= policy.replicas(high, current)


def test_a_load_at_the_border_does_not_flap() -> None:
    policy = HoldUtilisation()
    sizes = [2]
    for busy in [1.39, 1.41, 1.39, 1.41, 1.39]:
        sizes.append(policy.replicas(busy, sizes[-1]))
    assert sizes == [2, 2, 3, 3, 3, 3]


def test_queue_counts_beside_the_replicas_own_load() -> None:
    full = {UTILISATION: {"a": 1.0}}
    assert hold_utilisation(Context(1, full, total_queued_requests=8))[0] == 3
    assert hold_utilisation(Context(1, full))[0] == 2


def test_bounds_hold() -> None:
    assert hold_utilisation(Context(1, {UTILISATION: {"a": 9.0}}))[0] == 4
    assert hold_utilisation(Context(3, {}))[0] == 1


def test_no_figures_yet_is_no_load() -> None:
    context = Context(1)
    context.aggregated_metrics = {}
    assert hold_utilisation(context) == (1, {})


@pytest.mark.parametrize("bad", [{"target": 0.0}, {"target": 1.2}, {"margin": 0.0}, {"margin": 0.7}, {"slots": 0}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need|slots"):
        HoldUtilisation(**bad)  # type: ignore[arg-type]


def test_the_controller_imports_nothing_heavy() -> None:
    code = "import sys, model.serve.autoscaling; print([m for m in ('torch', 'ray', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
