"""Regression of tick labels: value as a function of the pixel position, linear or logarithmic, despite misread labels.

Every pair of labels proposes a scale. The one that most labels agree with wins (RANSAC, Fischler and Bolles 1981, with
all pairs instead of random ones) and is fitted to these by least squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

TOLERANCE = 2.5  # pixels between a label's middle and its tick
MOST_TICKS = 40
LARGEST = 1e100
"""Labels above this are misread; their squares would overflow."""
LEAST_SPACING = 6.0  # pixels between two ticks


@dataclass(frozen=True)
class Tick:
    """A tick label: its position along the axis in pixels, and its value."""

    position: float
    value: float


@dataclass(frozen=True)
class Scale:
    """``value = slope * position + offset``, or 10 to that power if ``log``."""

    slope: float
    offset: float
    log: bool
    ticks: tuple[Tick, ...]
    """Labels that agree with the scale, by position."""
    error: float
    """Mean distance of these labels from the scale, in pixels."""

    def value(self, position: float) -> float:
        """Value at a pixel position. A power beyond the range of floats becomes infinite."""
        linear = self.slope * position + self.offset
        if not self.log:
            return linear
        return 10.0**linear if linear < 308 else math.inf

    def position(self, value: float) -> float:
        """Pixel position of a value. Raises ValueError for a value that a logarithmic scale doesn't have."""
        return ((math.log10(value) if self.log else value) - self.offset) / self.slope

    def shifted(self, pixels: float) -> Scale:
        """The scale moved along the axis by ``pixels``."""
        return replace(self, offset=self.offset - self.slope * pixels)


def fit(
    ticks: Sequence[Tick], *, least: int = 3, tolerance: float = TOLERANCE, log: bool | None = None
) -> Scale | None:
    """The scale that most ticks agree with; None if fewer than ``least`` do.

    Linear wins ties, since a few close values, such as years, fit both.

    Args:
        ticks: labels, of which the first `MOST_TICKS` are used
        least: least number of labels that must agree
        tolerance: pixels between a label and its place on the scale
        log: whether the axis is logarithmic, if that is known
    """
    known = [tick for tick in ticks if abs(tick.value) < LARGEST][:MOST_TICKS]
    linear = None if log is True else _fit(known, tolerance, log=False)
    power = None if log is False else _fit([tick for tick in known if tick.value > 0], tolerance, log=True)
    found = [scale for scale in (linear, power) if scale and len(scale.ticks) >= least]
    return max(found, key=lambda scale: len(scale.ticks), default=None)


def _fit(ticks: Sequence[Tick], tolerance: float, *, log: bool) -> Scale | None:
    points = [(tick.position, math.log10(tick.value) if log else tick.value, tick) for tick in ticks]
    best: list[tuple[float, float, Tick]] = []
    spread = math.inf
    for (p, a, _), (q, b, _) in combinations(points, 2):
        if abs(p - q) < LEAST_SPACING or a == b:
            continue
        slope = (b - a) / (q - p)
        if not math.isfinite(slope) or slope == 0:
            continue
        near = [(point, abs(point[0] - p - (point[1] - a) / slope)) for point in points]
        agree = [point for point, distance in near if distance <= tolerance]
        total = sum(distance for _, distance in near if distance <= tolerance)
        if (len(agree), -total) > (len(best), -spread):
            best, spread = agree, total
    return _least_squares(best, log=log) if len(best) >= 2 else None


def _least_squares(points: Sequence[tuple[float, float, Tick]], *, log: bool) -> Scale | None:
    # Positions are exact to a fraction of a pixel and values are exact, so positions are regressed on values.
    count = len(points)
    mean_position = sum(position for position, _, _ in points) / count
    mean_value = sum(value for _, value, _ in points) / count
    variance = sum((value - mean_value) ** 2 for _, value, _ in points)
    covariance = sum((value - mean_value) * (position - mean_position) for position, value, _ in points)
    if variance <= 0 or covariance == 0 or not math.isfinite(variance) or not math.isfinite(covariance):
        return None
    slope = variance / covariance
    offset = mean_value - slope * mean_position
    error = sum(abs((value - offset) / slope - position) for position, value, _ in points) / count
    ticks = tuple(sorted((tick for _, _, tick in points), key=lambda tick: tick.position))
    return Scale(slope, offset, log, ticks, error)
