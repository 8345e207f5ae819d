"""Reads line charts: lines by colour, with a value for each category, tick or bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.axes import ScaleAxis, no_axis
from tools.vision.bar_values import PRINTED, SCALED, agreeing
from tools.vision.chart_parts import ChartParts, numbers
from tools.vision.legend import name_of
from tools.vision.numerals import numeral
from tools.vision.ocr import Word
from tools.vision.readings import NO_AXIS, Axis, AxisScale, Box, ChartKind, ChartReading, Point, Series
from tools.vision.scale import Scale, Tick, fit
from tools.vision.scene import Lab, hex_of
from tools.vision.slots import Label, labels_below
from tools.vision.strokes import strokes
from tools.vision.trace import Trace, trace_of

LEAST_SPAN = 0.3
"""Least share of the plot area's width that a line crosses."""
THICKEST = 0.1
"""Largest usual thickness of a line, as a share of the plot area's height."""
MOST_POINTS = 200
SETTLED, LOOSE = 2.5, 14.0
"""Largest move of a place to a bend, in pixels: on an axis with a scale, and at labels, which are only near."""


@dataclass(frozen=True)
class Line:
    colour: Lab
    trace: Trace


@dataclass(frozen=True)
class Place:
    """A column at which lines are read, with its category or number."""

    x: float
    name: str | float


def read_lines(parts: ChartParts) -> ChartReading | None:
    """The line chart in an image; None if there is none."""
    value_axis = parts.upright[0] if parts.upright else None
    plot = _plot(parts, value_axis)
    ticks = [tick.position for tick in value_axis.scale.ticks] if value_axis else []
    drawn = [_line(colour, mask, plot) for colour, mask in strokes(parts, plot, ticks)]
    lines = _distinct([line for line in drawn if line])
    if not lines:
        return None
    words = parts.free_words(value_axis)
    bends = sorted(x for line in lines for x in line.trace.vertices())
    places, axis, taken = _places(parts, words, value_axis, plot, bends, lines)
    printed = numbers([word for word in words if word not in taken])
    scale = value_axis.scale if value_axis else _scale_of(lines, places, printed)
    if scale is None or not places:
        return None
    places = _aligned(places, bends, SETTLED if axis.scale is AxisScale.LINEAR else LOOSE)
    series = [_series(line, places, scale, printed, parts) for line in lines]
    series = _without_text([one for one in series if one.points])
    return _reading(parts, value_axis, axis, series) if series else None


def _plot(parts: ChartParts, axis: ScaleAxis | None) -> Box:
    """The plot area, roughly: right of the value axis and between its ends, with a margin."""
    scene = parts.scene
    if axis is None:
        return (0.0, 0.0, float(scene.width), float(scene.height))
    step = (axis.high_pixel - axis.low_pixel) / max(len(axis.scale.ticks) - 1, 1)
    top, bottom = max(axis.low_pixel - 1.5 * step, 0.0), axis.high_pixel + 0.9 * step
    below = [word.box[1] for other in parts.level for word in other.words if word.y > axis.high_pixel]
    bottom = min([bottom, *([min(below) - 3] if below else [])])
    edge = max(word.box[2] for word in axis.words)
    if edge < scene.width / 2:
        return (edge + 2, top, float(scene.width), bottom)
    return (0.0, top, min(word.box[0] for word in axis.words) - 2, bottom)


def _line(colour: Lab, mask: np.ndarray, plot: Box) -> Line | None:
    trace = trace_of(mask)
    if trace is None or len(trace.x) < 8:
        return None
    wide = trace.x[-1] - trace.x[0] >= LEAST_SPAN * (plot[2] - plot[0])
    dense = len(trace.x) >= 0.25 * (trace.x[-1] - trace.x[0])
    thin = float(np.median(trace.bottom - trace.top)) <= max(THICKEST * (plot[3] - plot[1]), 8)
    rule = float(np.ptp(trace.middle)) <= 2 and _is_grey(hex_of(colour))
    return Line(colour, trace) if wide and dense and thin and not rule else None


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Lines without those that run along a stronger one: the edge of a line, mixed with the background."""
    kept: list[Line] = []
    for line in lines:
        if not any(_along(line.trace, other.trace) for other in kept):
            kept.append(line)
    return kept


def _along(trace: Trace, other: Trace) -> bool:
    rows = np.interp(trace.x, other.x, other.middle)
    near = np.abs(trace.middle - rows) <= 2 + (other.thickness + trace.thickness) / 2
    return float(near.mean()) > 0.75


def _aligned(places: Sequence[Place], bends: Sequence[float], reach: float) -> list[Place]:
    """Places moved to the lines' bends, by ``reach`` pixels at most, if most places have a bend within it."""
    if len(places) < 3 or len(bends) < 3:
        return list(places)
    x = np.array([place.x for place in places])
    bend = np.array(bends)
    nearest = bend[np.abs(bend[None, :] - x[:, None]).argmin(axis=1)]
    close = np.abs(nearest - x) <= min(0.3 * float(np.median(np.diff(x))), reach)
    if close.sum() < max(3, 0.5 * len(x)):
        return list(places)
    shift = float(np.median((nearest - x)[close]))
    steady = close & (np.abs(nearest - x - shift) <= 3)
    if steady.sum() < max(3, 0.4 * len(x)):
        return list(places)
    slope, start = np.polyfit(x[steady], nearest[steady], 1) if steady.sum() >= 4 else (1.0, shift)
    if abs(slope - 1) > 0.03:
        slope, start = 1.0, shift
    return [replace(place, x=float(slope * place.x + start)) for place in places]


def _places(
    parts: ChartParts, words: Sequence[Word], value_axis: ScaleAxis | None, plot: Box, bends: Sequence[float],
    lines: Sequence[Line],
) -> tuple[list[Place], Axis, set[Word]]:  # fmt: skip
    """Columns to read, the axis that they belong to, and its words."""
    lowest = max(float(line.trace.bottom.max()) for line in lines)
    level = [
        axis
        for axis in parts.level
        if axis.position > lowest - 8 and not (value_axis and set(axis.words) & set(value_axis.words))
    ]
    bottom = max(lowest, value_axis.high_pixel if value_axis else 0.0)
    start, end = min(line.trace.x[0] for line in lines), max(line.trace.x[-1] for line in lines)
    labels = labels_below(words, min(bottom, plot[3]), (start, end), _apart(bends))
    labels = [label for label in labels if start - 12 <= label.position <= end + 12]
    taken = {word for label in labels for word in label.words}
    if level and len(level[0].words) >= 0.6 * len(labels):
        axis = level[0]
        return _numeric(axis.scale, lines, bends), axis.described("", ""), set(axis.words)
    slanted = _slanted_scale(labels)
    if slanted:
        values = [tick.value for tick in slanted.ticks]
        return _numeric(slanted, lines, bends), Axis(AxisScale.LINEAR, low=min(values), high=max(values)), taken
    places = _completed([Place(x, label.text) for x, label in zip(_even(labels), labels, strict=True)], start, end)
    return places, no_axis([str(place.name) for place in places]), taken


def _completed(places: Sequence[Place], start: float, end: float) -> list[Place]:
    """Places with those whose labels were not read: in gaps of a regular axis, and at the lines' ends."""
    if len(places) < 3:
        return list(places)
    step = float(np.median(np.diff([place.x for place in places])))
    whole: list[Place] = []
    first = places[0].x - step * round((places[0].x - start) / step)
    for index in range(min(round((max(end, places[-1].x) - first) / step) + 1, MOST_POINTS)):
        x = first + index * step
        near = [place for place in places if abs(place.x - x) <= 0.3 * step]
        whole.append(near[0] if near else Place(x, f"#{index + 1}"))
    return whole if {place.name for place in places} <= {place.name for place in whole} else list(places)


def _slanted_scale(labels: Sequence[Label]) -> Scale | None:
    """The scale of numeric labels that are not level."""
    numerals = [(label, numeral(label.text)) for label in labels]
    ticks = [Tick(label.position, found.value) for label, found in numerals if found]
    return fit(ticks, tolerance=4.0) if len(ticks) >= max(3, 0.7 * len(labels)) else None


def _even(labels: Sequence[Label]) -> list[float]:
    """Positions of labels, on a regular grid if they are nearly regular: a label's middle is off by a pixel or two."""
    places = [label.position for label in labels]
    if len(places) < 3:
        return places
    order = np.arange(len(places))
    step, start = np.polyfit(order, places, 1)
    fitted = start + step * order
    return [float(x) for x in fitted] if float(np.abs(fitted - places).max()) <= max(4.0, 0.08 * step) else places


def _numeric(scale: Scale, lines: Sequence[Line], bends: Sequence[float]) -> list[Place]:
    """Columns of a numeric axis: every whole number if the ticks are years or short counts, else bends."""
    start, end = min(line.trace.x[0] for line in lines), max(line.trace.x[-1] for line in lines)
    values = [tick.value for tick in scale.ticks]
    low, high = sorted((scale.value(start), scale.value(end)))
    if not scale.log and high - low <= 60 and (_years(values) or _whole(scale, bends)):
        whole = range(round(low), round(high) + 1)
        return [
            Place(scale.position(value), float(value))
            for value in whole
            if start - 6 <= scale.position(value) <= end + 6
        ]
    return [Place(x, float(f"{scale.value(x):.4g}")) for x in _apart(bends)[:MOST_POINTS]]


def _apart(bends: Sequence[float]) -> list[float]:
    """Bends that are more than 5 pixels apart, of several lines together."""
    apart: list[float] = []
    for x in bends:
        if not apart or x - apart[-1] > 5:
            apart.append(x)
    return apart


def _years(values: Sequence[float]) -> bool:
    return all(1800 <= value <= 2100 for value in values) and max(values) - min(values) >= 2


def _whole(scale: Scale, bends: Sequence[float]) -> bool:
    """Whether most bends are at whole numbers."""
    pixel = abs(scale.slope)
    off = [abs(scale.value(x) - round(scale.value(x))) for x in bends]
    return pixel <= 0.12 and float(np.mean([one <= 3 * pixel for one in off])) >= 0.8


def _series(
    line: Line, places: Sequence[Place], scale: Scale, printed: Sequence[tuple[Word, float, str]], parts: ChartParts
) -> Series:
    spacing = float(np.median(np.diff([place.x for place in places]))) if len(places) > 1 else 40.0
    rows = [(place, line.trace.height(place.x, spacing)) for place in places]
    found = [(place, row, scale.value(row)) for place, row in rows if row is not None]
    span = max((abs(value) for _, _, value in found), default=1.0)
    points = []
    for place, row, value in found:
        number = agreeing(_printed_at(place.x, row, printed, spacing), value, span)
        confident = PRINTED if number is not None else SCALED - 0.05
        points.append(
            Point(place.name, value if number is None else number, (place.x, row), confident, number is not None)
        )
    return Series(name_of(line.colour, parts.legend), hex_of(line.colour), tuple(points))


def _without_text(series: list[Series]) -> list[Series]:
    """Series without those that are only leftovers of text: unnamed dark ones beside named ones."""
    named = [one for one in series if one.name]
    return [one for one in series if one.name or not named or not _is_grey(one.colour)]


def _is_grey(colour: str) -> bool:
    levels = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return max(levels) - min(levels) < 16


def _printed_at(x: float, row: float, printed: Sequence[tuple[Word, float, str]], spacing: float) -> float | None:
    """The number printed nearest to a point."""
    best: tuple[float, float] | None = None
    for word, value, _ in printed:
        across, along = abs(word.x - x), abs(word.y - row)
        if across <= min(0.5 * word.width + 4, 0.6 * spacing + 4) and along <= 2.6 * word.height:
            best = min(best or (np.inf, 0.0), (across + along, value))
    return best[1] if best else None


def _scale_of(
    lines: Sequence[Line], places: Sequence[Place], printed: Sequence[tuple[Word, float, str]]
) -> Scale | None:
    """Without a value axis, the scale from numbers printed at the points of a single line."""
    if len(lines) != 1 or len(places) < 3:
        return None
    spacing = float(np.median(np.diff([place.x for place in places])))
    ticks = []
    for place in places:
        row = lines[0].trace.height(place.x, spacing)
        value = _printed_at(place.x, row, printed, spacing) if row is not None else None
        if row is not None and value is not None:
            ticks.append(Tick(row, value))
    return fit(ticks, tolerance=4.0)


def _reading(parts: ChartParts, value_axis: ScaleAxis | None, axis: Axis, series: Sequence[Series]) -> ChartReading:
    left = min((word.box[0] for word in value_axis.words), default=0.0) if value_axis else 0.0
    highest = min(point.pixel[1] for one in series for point in one.points)
    title, _ = parts.headline(min(highest, value_axis.low_pixel) if value_axis else highest)
    upright, unit = parts.upright_title(left + 1)
    values = value_axis.described(upright, unit) if value_axis else NO_AXIS
    confidence = float(np.mean([point.confidence for one in series for point in one.points]))
    notes = () if value_axis else ("no value axis was found; the scale is that of printed values",)
    return ChartReading(ChartKind.LINE, title, replace(axis), values, tuple(series), confidence, notes=notes)
