"""Values of bars: measured on the scale, and replaced by the numbers printed at them where these agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.vision.axes import ScaleAxis
from tools.vision.bar_geometry import Bar
from tools.vision.scale import Scale

SNAP = 4.0  # pixels between the baseline and the scale's zero that count as the same
AGREES, REPAIRED = 0.12, 0.04
"""Largest relative difference between a printed and a measured value, as it is and with a repaired sign or point."""
PRINTED, SCALED, PROPORTIONAL = 0.97, 0.85, 0.6
"""Confidence of a value that is printed, measured on the scale, or derived from printed neighbours."""

Value = tuple[float, bool, float]
"""Value, whether it is printed, and confidence."""


def measured(bars: Sequence[Bar], axis: ScaleAxis | None, *, stacked: bool) -> list[float] | None:
    """Values on the axis; None without one."""
    if axis is None:
        return None
    base = (
        float(np.median([bar.near for bar in _lowest(bars)]))
        if stacked
        else float(np.median([bar.near for bar in bars]))
    )
    scale = _snapped(axis.scale, base)
    values = []
    for bar in bars:
        start = scale.value(bar.near) if stacked and abs(bar.near - base) > SNAP else 0.0
        values.append(scale.value(bar.far) - start)
    return values


def with_printed(
    bars: Sequence[Bar], values: list[float] | None, near: dict[int, float], *, log: bool = False
) -> list[Value] | None:
    """Values of the bars; None if there is neither an axis nor enough printed numbers.

    Args:
        bars: the bars
        values: measured values; None without an axis
        near: numbers printed at the bars, by index
        log: whether the axis is logarithmic, on which a pixel is a share of the value
    """
    if values is None:
        values = _proportional(bars, near)
        if values is None:
            return None
        certain = PROPORTIONAL
    else:
        certain = SCALED
    span = max(abs(value) for value in values) or 1.0
    result: list[Value] = []
    for index, value in enumerate(values):
        number = agreeing(near.get(index), value, abs(value) if log else span)
        result.append((value, False, certain) if number is None else (number, True, PRINTED))
    return result


def _lowest(bars: Sequence[Bar]) -> list[Bar]:
    """Bars that stand on no other."""
    return [
        bar for bar in bars if not any(abs(bar.near - other.far) <= SNAP and bar is not other for other in bars)
    ] or list(bars)


def _snapped(scale: Scale, base: float) -> Scale:
    """The scale moved halfway to where bars begin, if that is its zero: both are exact to about half a pixel."""
    if scale.log:
        return scale
    away = base - scale.position(0.0)
    return scale.shifted(away / 2) if abs(away) <= SNAP else scale


def _proportional(bars: Sequence[Bar], near: dict[int, float]) -> list[float] | None:
    """Values in proportion to the bars' lengths, at the ratio that most printed numbers agree with."""
    ratios = [
        near[index] / (bar.far - bar.near) for index, bar in enumerate(bars) if index in near and bar.far != bar.near
    ]
    ratios = [ratio for ratio in ratios if ratio]
    if not ratios or len(near) < max(1, 0.4 * len(bars)):
        return None
    best = max(ratios, key=lambda one: sum(abs(ratio / one - 1) <= AGREES for ratio in ratios))
    agreed = float(np.median([ratio for ratio in ratios if abs(ratio / best - 1) <= AGREES]))
    return [agreed * (bar.far - bar.near) for bar in bars]


def agreeing(number: float | None, value: float, span: float) -> float | None:
    """The printed number if it is near the measured value, if need be with the decimal point or sign that was lost."""
    if number is None:
        return None
    if abs(number - value) <= AGREES * abs(value) + 0.02 * span:
        return number
    # Two numbers that were read as one, such as 1.15353, would agree by chance with a slack as large.
    slack = REPAIRED * abs(value) + 0.01 * span
    candidates = (-number, number / 10, number / 100, number / 1000, number * 10, number * 1000)
    return next((candidate for candidate in candidates if abs(candidate - value) <= slack), None)
