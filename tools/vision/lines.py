"""Reads line charts: lines by colour, with a value for each category, tick or bend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.axes import ScaleAxis
from tools.vision.bar_values import PRINTED, SCALED, agreeing
from tools.vision.chart_parts import ChartParts, numbers
from tools.vision.legend import name_of
from tools.vision.line_places import Place, places_of
from tools.vision.ocr import Word
from tools.vision.readings import NO_AXIS, Axis, Box, ChartKind, ChartReading, Point, Series
from tools.vision.scale import Scale, Tick, fit
from tools.vision.scene import Lab, distance, hex_of
from tools.vision.strokes import strokes
from tools.vision.trace import Trace, trace_of

LEAST_SPAN = 0.3
"""Least share of the plot area's width that a line crosses."""
THICKEST = 0.1
"""Largest usual thickness of a line, as a share of the plot area's height."""
TOGETHER, MOST = 1.5, 0.6
"""Pixels between the right edges of labels that end together, and the least share of such labels."""
PALE = 20.0
"""Distance from the background below which a grey is that of a grid."""
GRID = 0.6
"""Share of a grey line that runs at ticks, above which it is made of pieces of the grid."""


@dataclass(frozen=True)
class Line:
    colour: Lab
    trace: Trace


def read_lines(parts: ChartParts) -> ChartReading | None:
    """The line chart in an image; None if there is none."""
    value_axis = parts.upright[0] if parts.upright else None
    plot = _plot(parts, value_axis)
    ticks = [tick.position for tick in value_axis.scale.ticks] if value_axis else []
    drawn = [_line(colour, mask, plot, ticks) for colour, mask in strokes(parts, plot, ticks) if _shows(colour, parts)]
    lines = _distinct([line for line in drawn if line], parts.scene.papers)
    if not lines:
        return None
    words = parts.free_words(value_axis)
    bends = sorted(x for line in lines for x in line.trace.vertices())
    places, axis, taken = places_of(parts, words, value_axis, plot, bends, [line.trace for line in lines])
    # A tick label that a line touches is misplaced, so that the axis lacks it, but it is beside the plot area.
    printed = numbers([word for word in words if word not in taken and plot[0] - 2 <= word.x <= plot[2] + 2])
    scale = value_axis.scale if value_axis else _scale_of(lines, places, printed)
    if scale is None or not places:
        return None
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
    edge = _right_edge(axis)
    # The lowest tick's label may have been lost, as where a line touches it. Then the next text ends the area.
    text = [word.box[1] for word in scene.words if word.box[1] > axis.high_pixel + 0.25 * step and word.x > edge]
    bottom = max(bottom, min(min(text, default=0.0) - 3, axis.high_pixel + 1.9 * step)) if not below else bottom
    if edge < scene.width / 2:
        return (edge + 2, top, float(scene.width), bottom)
    return (0.0, top, min(word.box[0] for word in axis.words) - 2, bottom)


def _right_edge(axis: ScaleAxis) -> float:
    """Where the value axis's labels end. Of labels that end together, one that a line touches is longer by mistake."""
    edges = sorted(word.box[2] for word in axis.words)
    usual = float(np.median(edges))
    together = sum(abs(edge - usual) <= TOGETHER for edge in edges) >= MOST * len(edges)
    return usual - 1 if together and len(edges) >= 3 else edges[-1]


def _shows(colour: Lab, parts: ChartParts) -> bool:
    """Whether a colour can be a line's: a pale grey one that the legend doesn't have is that of a grid."""
    pale = min(float(distance(colour, paper)) for paper in parts.scene.papers) < PALE
    return not (pale and _is_grey(hex_of(colour))) or bool(name_of(colour, parts.legend))


def _line(colour: Lab, mask: np.ndarray, plot: Box, ticks: Sequence[float]) -> Line | None:
    trace = trace_of(mask)
    if trace is None or len(trace.x) < 8:
        return None
    wide = trace.x[-1] - trace.x[0] >= LEAST_SPAN * (plot[2] - plot[0])
    dense = len(trace.x) >= 0.25 * (trace.x[-1] - trace.x[0])
    thin = float(np.median(trace.bottom - trace.top)) <= max(THICKEST * (plot[3] - plot[1]), 8)
    rule = _is_grey(hex_of(colour)) and (float(np.ptp(trace.middle)) <= 2 or _on_grid(trace, ticks))
    return Line(colour, trace) if wide and dense and thin and not rule else None


def _on_grid(trace: Trace, ticks: Sequence[float]) -> bool:
    """Whether most of a line runs at ticks: grid lines, where the area below a line gives them another colour."""
    if not ticks:
        return False
    away = np.abs(trace.middle[:, None] - np.asarray(ticks)[None, :]).min(axis=1)
    return float(np.mean(away <= 2)) >= GRID


def _distinct(lines: Sequence[Line], papers: Sequence[Lab]) -> list[Line]:
    """Lines without those that run along a stronger one: the edge of a line, mixed with the background."""
    kept: list[Line] = []
    for line in lines:
        pale = min(float(distance(line.colour, paper)) for paper in papers) < PALE
        if not any(_along(line.trace, other.trace, pale=pale) for other in kept):
            kept.append(line)
    return kept


def _along(trace: Trace, other: Trace, *, pale: bool) -> bool:
    """Whether a line runs along another. A ``pale`` one may be JPEG's error beside it, which reaches further."""
    # Between the ends of the other's pixels in each column, which are far apart where it is steep.
    top, bottom = (np.interp(trace.x, other.x, ends) for ends in (other.top, other.bottom))
    slack = 2 + trace.thickness / 2 + (other.thickness / 2 if pale else 0.0)
    near = (trace.middle >= top - slack) & (trace.middle <= bottom + slack)
    return float(near.mean()) > 0.75


def _series(
    line: Line, places: Sequence[Place], scale: Scale, printed: Sequence[tuple[Word, float, str]], parts: ChartParts
) -> Series:
    spacing = float(np.median(np.diff([place.x for place in places]))) if len(places) > 1 else 40.0
    rows = [(place, line.trace.height(place.x, spacing)) for place in places]
    found = [(place, row, scale.value(row)) for place, row in rows if row is not None]
    span = max((abs(value) for _, _, value in found), default=1.0)
    points = []
    for place, row, value in found:
        most = abs(value) if scale.log else span  # pixels of a logarithmic axis are shares of the value
        number = agreeing(_printed_at(place.x, row, printed, spacing), value, most)
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
