"""Moves the pixel positions of a reading from a scaled or straightened image to the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tools.vision.readings import Box, ChartReading, Reading, TextReading


def moved(reading: Reading, factor: float, matrix: NDArray[np.float64] | None = None) -> Reading:
    """The reading with its pixel positions moved by an affine ``matrix`` (2, 3) and multiplied by ``factor``."""
    if factor == 1.0 and matrix is None:
        return reading

    def place(x: float, y: float) -> tuple[float, float]:
        if matrix is not None:
            x, y = (float(one) for one in matrix @ (x, y, 1.0))
        return x * factor, y * factor

    if isinstance(reading, ChartReading):
        series = tuple(
            replace(one, points=tuple(replace(point, pixel=place(*point.pixel)) for point in one.points))
            for one in reading.series
        )
        return replace(reading, series=series)
    if isinstance(reading, TextReading):
        return TextReading(tuple(replace(line, box=_moved(line.box, place)) for line in reading.lines))
    return reading


def _moved(box: Box, place: Callable[[float, float], tuple[float, float]]) -> Box:
    """The box around the moved corners."""
    left, top, right, bottom = box
    xs, ys = zip(*(place(x, y) for x in (left, right) for y in (top, bottom)), strict=True)
    return min(xs), min(ys), max(xs), max(ys)
