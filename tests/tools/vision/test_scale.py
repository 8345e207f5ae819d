from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.vision.axes import scale_axes
from tools.vision.bar_geometry import Bar
from tools.vision.bar_values import agreeing, with_printed
from tools.vision.ocr import Word
from tools.vision.scale import Tick, fit

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    start=st.floats(0, 300), spacing=st.floats(20, 120), count=st.integers(4, 12), low=st.integers(-1000, 1000),
    step=st.sampled_from((1, 2, 5, 10, 25, 1000, 250_000)), jitter=st.lists(st.floats(-1, 1), min_size=12, max_size=12),
)  # fmt: skip
@settings(deadline=None)
def test_regular_labels_give_a_linear_scale(
    start: float, spacing: float, count: int, low: int, step: int, jitter: list[float]
) -> None:
    ticks = [Tick(start + i * spacing + jitter[i], low + i * step) for i in range(count)]
    scale = fit(ticks)
    assert scale is not None
    assert not scale.log
    assert len(scale.ticks) == count
    for tick in ticks:
        assert scale.position(tick.value) == pytest.approx(tick.position, abs=2.5)
        assert scale.value(scale.position(tick.value)) == pytest.approx(tick.value, abs=1e-6 * step * 1e3)


@given(
    count=st.integers(5, 10), step=st.integers(1, 500), spacing=st.floats(25, 90), wrong=st.integers(0, 9),
    value=numbers,
)  # fmt: skip
@settings(deadline=None)
def test_a_misread_label_does_not_move_the_scale(
    count: int, step: int, spacing: float, wrong: int, value: float
) -> None:
    ticks = [Tick(10 + i * spacing, float(i * step)) for i in range(count)]
    ticks[wrong % count] = Tick(ticks[wrong % count].position, value)
    scale = fit(ticks)
    assert scale is not None
    assert scale.value(10 + 2 * spacing) == pytest.approx(2 * step, abs=0.12 * step)


@given(decades=st.integers(3, 8), low=st.integers(-6, 6), spacing=st.floats(25, 90))
@settings(deadline=None)
def test_powers_give_a_logarithmic_scale(decades: int, low: int, spacing: float) -> None:
    ticks = [Tick(400 - i * spacing, 10.0 ** (low + i)) for i in range(decades)]
    scale = fit(ticks)
    assert scale is not None
    assert scale.log
    assert math.log10(scale.value(400 - spacing / 2)) == pytest.approx(low + 0.5, abs=0.01)


@given(st.lists(st.builds(Tick, st.floats(0, 2000), st.floats(allow_nan=False, allow_infinity=False)), max_size=12))
@settings(deadline=None)
def test_any_labels_give_a_finite_scale_or_none(ticks: list[Tick]) -> None:
    scale = fit(ticks)
    if scale is not None:
        assert len(scale.ticks) >= 3
        assert math.isfinite(scale.slope)
        assert math.isfinite(scale.offset)
        assert not math.isnan(scale.value(100.0))


def test_years_are_linear() -> None:
    scale = fit([Tick(100.0 * i, 2010.0 + 2 * i) for i in range(6)])
    assert scale is not None
    assert not scale.log


def test_two_labels_are_too_few() -> None:
    assert fit([Tick(0, 0), Tick(100, 10)]) is None


@pytest.mark.parametrize(
    ("texts", "high"),
    [(("0", "500", "1.000", "1.500"), 1500), (("0", "1.000", "2.000", "3.000"), 3000),
     (("0.0", "0.5", "1.0", "1.5"), 1.5),
     (("1.005", "1.010", "1.015", "1.020"), 1.02), (("0.000", "0.500", "1.000", "1.500"), 1.5)],
)  # fmt: skip
def test_points_between_thousands_are_told_from_decimal_ones(texts: tuple[str, ...], high: float) -> None:
    words = [Word(text, (10.0, 300.0 - 60 * place, 40.0, 312.0 - 60 * place), 1.0) for place, text in enumerate(texts)]
    assert max(tick.value for tick in scale_axes(words, vertical=True)[0].scale.ticks) == pytest.approx(high)


@pytest.mark.parametrize(
    ("printed", "number"),
    [(1333.0, 1333.0), (1250.0, 1250.0), (1.333, 1333.0), (-1333.0, 1333.0), (13.33, None), (1.15353, None),
     (1100.0, None)],
)  # fmt: skip
def test_a_printed_number_is_taken_if_it_is_near_the_measured_one(printed: float, number: float | None) -> None:
    assert agreeing(printed, 1331.0, 1650.0) == (number and pytest.approx(number))


@pytest.mark.parametrize("log", [True, False])
def test_on_a_logarithmic_axis_a_small_value_is_not_any_printed_number(log: bool) -> None:
    bars = [Bar(0.0, 10.0, 100.0, far, np.zeros(3, dtype=np.float32)) for far in (80.0, 10.0)]
    small, large = with_printed(bars, [16.0, 17_704.0], {0: 1.0, 1: 17_704.0}, log=log) or []
    assert small[:2] == ((16.0, False) if log else (1.0, True))
    assert large[:2] == (17_704.0, True)
