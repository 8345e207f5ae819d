"""Moves the pixel positions of a reading from a scaled image to the original."""

from __future__ import annotations

from dataclasses import replace

from tools.vision.readings import Box, ChartReading, Reading, TextReading


def resized(reading: Reading, factor: float) -> Reading:
    """The reading with its pixel positions multiplied by ``factor``."""
    if factor == 1.0:
        return reading
    if isinstance(reading, ChartReading):
        series = tuple(
            replace(one, points=tuple(
                replace(point, pixel=(point.pixel[0] * factor, point.pixel[1] * factor)) for point in one.points
            ))
            for one in reading.series
        )  # fmt: skip
        return replace(reading, series=series)
    if isinstance(reading, TextReading):
        return TextReading(tuple(replace(line, box=_scaled(line.box, factor)) for line in reading.lines))
    return reading


def _scaled(box: Box, factor: float) -> Box:
    left, top, right, bottom = box
    return (left * factor, top * factor, right * factor, bottom * factor)
