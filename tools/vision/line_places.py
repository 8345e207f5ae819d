"""Columns at which lines are read: at categories, at ticks of a numeric axis, at dates, or at the lines' bends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.axes import ScaleAxis, no_axis
from tools.vision.chart_parts import ChartParts
from tools.vision.dates import time_scale
from tools.vision.numerals import numeral
from tools.vision.ocr import Word
from tools.vision.readings import Axis, AxisScale, Box
from tools.vision.scale import Scale, Tick, fit
from tools.vision.slots import Label, labels_below
from tools.vision.trace import Trace

MOST_POINTS = 200
SETTLED, LOOSE = 2.5, 14.0
"""Largest move of a place to a bend, in pixels: on an axis with a scale, and at labels, which are only near."""
CALM = 0.85
"""Share of a line between ticks that is straight, if its values are those at the ticks; markers are not."""
BESIDE, SHARE = 6.0, 0.3
"""How far a tick may lie beside a line's ends: pixels and, of wide steps, shares of a step, up to `FARTHEST`."""
FARTHEST = 16.0
AT_LABELS = 0.8
"""Share of labels with a marker above which the markers stand at the labels."""


@dataclass(frozen=True)
class Place:
    """A column at which lines are read, with its category or number."""

    x: float
    name: str | float


def places_of(
    parts: ChartParts, words: Sequence[Word], value_axis: ScaleAxis | None, plot: Box, bends: Sequence[float],
    traces: Sequence[Trace],
) -> tuple[list[Place], Axis, set[Word]]:  # fmt: skip
    """Columns to read, the axis that they belong to, and its words."""
    lowest = max(float(trace.bottom.max()) for trace in traces)
    level = [
        axis
        for axis in parts.level
        if axis.position > lowest - 8 and not (value_axis and set(axis.words) & set(value_axis.words))
    ]
    bottom = max(lowest, value_axis.high_pixel if value_axis else 0.0)
    start, end = min(trace.x[0] for trace in traces), max(trace.x[-1] for trace in traces)
    labels = labels_below(words, min(bottom, plot[3]), (start, end), _apart(bends))
    time = time_scale([(label.position, label.text) for label in labels])
    labels = [label for label in labels if start - 12 <= label.position <= end + 12]
    taken = {word for label in labels for word in label.words}
    if time and (between := _between(traces, labels)):
        dated = [Place(x, time.name(x)) for x in between]
        return _aligned(dated, bends, SETTLED), no_axis([str(place.name) for place in dated]), taken
    if level and not time and len(level[0].words) >= 0.6 * len(labels):
        axis = level[0]
        return _aligned(_numeric(axis.scale, traces, bends), bends, SETTLED), axis.described("", ""), set(axis.words)
    slanted = _slanted_scale(labels)
    if slanted:
        values = [tick.value for tick in slanted.ticks]
        numeric = Axis(AxisScale.LINEAR, low=min(values), high=max(values))
        return _aligned(_numeric(slanted, traces, bends), bends, LOOSE), numeric, taken
    places = _completed([Place(x, label.text) for x, label in zip(_even(labels), labels, strict=True)], start, end)
    return _aligned(places, bends, LOOSE), no_axis([str(place.name) for place in places]), taken


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


def _between(traces: Sequence[Trace], labels: Sequence[Label]) -> list[float]:
    """Columns of the lines' markers if these don't stand at the labels, as on an axis of dates; else empty."""
    marks = [(trace, [(start + end) / 2 for start, end in trace.markers()]) for trace in traces]
    if any(not _reaches(trace, found) for trace, found in marks):
        return []
    apart = _apart(sorted(x for _, found in marks for x in found))[:MOST_POINTS]
    positions = [label.position for label in labels]
    if not positions or not apart:
        return apart
    at = [place for place in positions if min(abs(place - x) for x in apart) <= LOOSE]
    # Markers of steep lines are not seen, so that labels lack them; but those that are seen stand at labels.
    reach = min(LOOSE, SHARE * float(np.median(np.diff(positions)))) if len(positions) > 1 else LOOSE
    astray = [x for x in apart if min(abs(place - x) for place in positions) > reach]
    if len(apart) <= len(positions) and not astray:
        return []
    return apart if len(at) < AT_LABELS * len(labels) or len(apart) > 2 * len(labels) else []


def _reaches(trace: Trace, marks: Sequence[float]) -> bool:
    """Whether a line has markers from its begin to its end."""
    return len(marks) >= 3 and marks[0] - trace.x[0] <= LOOSE and trace.x[-1] - marks[-1] <= LOOSE


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


def _numeric(scale: Scale, traces: Sequence[Trace], bends: Sequence[float]) -> list[Place]:
    """Columns of a numeric axis: every whole number if the ticks are years or short counts, else bends."""
    start, end = min(trace.x[0] for trace in traces), max(trace.x[-1] for trace in traces)
    values = [tick.value for tick in scale.ticks]
    low, high = sorted((scale.value(start), scale.value(end)))
    if not scale.log and high - low <= 60 and (_years(values) or _whole(scale, bends)):
        whole = [Place(scale.position(value), float(value)) for value in range(round(low), round(high) + 1)]
        return _within(whole, start, end)
    if all(_straight(trace, scale) for trace in traces):
        return _within([Place(tick.position, tick.value) for tick in scale.ticks], start, end)
    return [Place(x, float(f"{scale.value(x):.4g}")) for x in _apart(bends)[:MOST_POINTS]]


def _within(places: Sequence[Place], start: float, end: float) -> list[Place]:
    """Places of the lines, ends included: a line's first pixels may be hidden by a label."""
    step = float(np.median(np.abs(np.diff([place.x for place in places])))) if len(places) > 1 else 0.0
    slack = max(BESIDE, min(SHARE * step, FARTHEST))
    return [place for place in places if start - slack <= place.x <= end + slack]


def _straight(trace: Trace, scale: Scale) -> bool:
    """Whether a line is straight between the ticks, so that its values are those at the ticks."""
    spacing = float(np.median(np.abs(np.diff([tick.position for tick in scale.ticks]))))
    rows = [(tick.position, trace.height(tick.position, spacing)) for tick in scale.ticks]
    known = [(x, row) for x, row in rows if row is not None]
    if len(known) < 4:
        return False
    x, row = zip(*sorted(known), strict=True)
    inside = (trace.x >= x[0]) & (trace.x <= x[-1])
    away = np.abs(np.interp(trace.x[inside], x, row) - trace.middle[inside])
    whole = x[-1] - x[0] >= 0.85 * (trace.x[-1] - trace.x[0])
    return whole and float(np.quantile(away, CALM)) <= max(3.0, trace.thickness)


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
