"""Reads bar charts: rectangles on a common baseline, upright or level, grouped, stacked or negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.axes import ScaleAxis, no_axis
from tools.vision.bar_geometry import Bar, bars_of, refined
from tools.vision.bar_labels import printed_numbers
from tools.vision.bar_values import Value, measured, with_printed
from tools.vision.chart_parts import ChartParts, numbers
from tools.vision.fills import rectangles
from tools.vision.legend import MATCH, name_of
from tools.vision.ocr import Word
from tools.vision.panels import Panel, own_axes, panels_of, repeated, titles_of
from tools.vision.readings import NO_AXIS, Axis, ChartKind, ChartReading, Point, Series
from tools.vision.scene import Lab, distance, hex_of
from tools.vision.segments import exact_stacks, with_floating
from tools.vision.slots import Label, assigned, labels_below, labels_beside

BIGGEST = 0.6
"""Largest share of the image that one bar covers."""

LEAST_COVERED = 0.35
"""Least share of the ink that bars cover; less means that they are parts of other marks, such as thick lines."""


@dataclass(frozen=True)
class BarChart:
    """Bars with their orientation and scale."""

    bars: tuple[Bar, ...]
    vertical: bool
    stacked: bool
    axis: ScaleAxis | None


def read_bars(parts: ChartParts) -> ChartReading | None:
    """The bar chart in an image; None if there is none."""
    chart = _chart_of(parts)
    if chart is None or covered_share(parts, chart.bars) < LEAST_COVERED:
        return None
    words = parts.free_words(chart.axis)
    groups = _slots(chart.bars, chart.stacked)
    places = [float(np.mean([bar.middle for bar in group])) for group in groups]
    labels = _labels(chart, words, places)
    if not chart.stacked and len(groups) < len(chart.bars) and _one_each(chart.bars, labels):
        groups = [[bar] for bar in sorted(chart.bars, key=lambda bar: bar.middle)]
        places = [group[0].middle for group in groups]
    taken = {word for label in labels for word in label.words}
    named = assigned(labels, places)
    again = repeated(named) if chart.vertical else []
    panels = panels_of(groups, len(again) or len(groups))
    axes = own_axes(panels, parts.upright, chart.axis) if again else [chart.axis]
    on_axes = {word for axis in axes if axis for word in axis.words}
    printed = numbers([word for word in words if word not in taken | on_axes])
    near = printed_numbers(parts.scene, chart.bars, printed, vertical=chart.vertical, stacked=chart.stacked)
    log = bool(chart.axis and chart.axis.scale.log)
    read = with_printed(chart.bars, _measured(chart, groups, panels, axes), near, log=log)
    if read is None:
        return None
    texts = again or _unique(named)
    values = dict(zip(chart.bars, read, strict=True))
    rows = [_series(parts, groups[panel.start : panel.stop], texts, values, chart) for panel in panels]
    if not again:
        return _reading(parts, chart, rows[0], texts, taken | on_axes)
    return _of_panels(parts, chart, _reading(parts, chart, rows[0], texts, taken | on_axes), panels, rows)


def _one_each(bars: Sequence[Bar], labels: Sequence[Label]) -> bool:
    """Whether every bar has a label of its own, so that no two bars share a category."""
    nearest = [min(labels, key=lambda label: abs(label.position - bar.middle), default=None) for bar in bars]
    near = all(
        label and abs(label.position - bar.middle) <= bar.thickness / 2
        for label, bar in zip(nearest, bars, strict=True)
    )
    return near and len({label.position for label in nearest if label}) == len(bars)


def _measured(
    chart: BarChart, groups: Sequence[Sequence[Bar]], panels: Sequence[Panel], axes: Sequence[ScaleAxis | None]
) -> list[float] | None:
    """Measured values in the order of the chart's bars, each on the axis of its panel; None without an axis."""
    found: dict[Bar, float] = {}
    for panel, axis in zip(panels, axes, strict=True):
        bars = [bar for group in groups[panel.start : panel.stop] for bar in group]
        values = measured(bars, axis, stacked=chart.stacked)
        if values is None:
            return None
        found |= dict(zip(bars, values, strict=True))
    return [found[bar] for bar in chart.bars]


def _of_panels(
    parts: ChartParts, chart: BarChart, reading: ChartReading, panels: Sequence[Panel], rows: list[list[Series]]
) -> ChartReading:
    """The reading of the first panel with the series of all, which have the names of their panels."""
    ends = [end for bar in chart.bars for end in (bar.near, bar.far)]
    names = titles_of(panels, parts.free_words(*parts.upright), min(ends), max(ends))
    title = "" if reading.title == " ".join(names) else reading.title
    series = tuple(
        replace(one, name=f"{name} {one.name}".strip()) for name, row in zip(names, rows, strict=True) for one in row
    )
    confidence = float(np.mean([point.confidence for one in series for point in one.points]))
    return replace(reading, title=title, series=series, confidence=confidence)


def _chart_of(parts: ChartParts) -> BarChart | None:
    scene = parts.scene
    fills = rectangles(scene, parts.areas, parts.legend_mask())
    fills = [fill for fill in fills if fill.width * fill.height < BIGGEST * scene.width * scene.height]
    found = []
    for vertical, axes in ((True, parts.upright), (False, parts.level)):
        axis = axes[0] if axes else None
        bars, stacked = bars_of(fills, vertical=vertical)
        if len(bars) >= (1 if axis else 2):
            found.append((len(bars) + 0.5 * bool(axis), BarChart(tuple(bars), vertical, stacked, axis)))
    if not found:
        return None
    chart = max(found, key=lambda one: one[0])[1]
    if chart.stacked:
        whole = with_floating(chart.bars, fills, scene, vertical=chart.vertical)
        return replace(chart, bars=tuple(exact_stacks(whole, scene, vertical=chart.vertical)))
    return replace(chart, bars=tuple(refined(bar, scene, vertical=chart.vertical) for bar in chart.bars))


def covered_share(parts: ChartParts, bars: Sequence[Bar]) -> float:
    """Share of all ink but text and legend that the bars cover."""
    ink = parts.scene.foreground() & ~parts.scene.covered(parts.scene.words) & ~parts.legend_mask()
    area = sum(bar.thickness * abs(bar.far - bar.near) for bar in bars)
    return float(area) / max(int(ink.sum()), 1)


def _slots(bars: Sequence[Bar], stacked: bool) -> list[list[Bar]]:
    """Bars by category, in the order of the axis."""
    ordered = sorted(bars, key=lambda bar: bar.middle)
    if stacked:
        return _near(ordered, 0.5)
    ranks = _ranks(ordered)
    if max(ranks) == 0:
        return [[bar] for bar in ordered]
    width = float(np.median([bar.thickness for bar in bars]))
    groups: list[list[Bar]] = []
    last = -1
    for bar, rank in zip(ordered, ranks, strict=True):
        gap = bar.low - groups[-1][-1].high if groups else 0.0
        if rank <= last or not groups or gap > 1.2 * width:
            groups.append([])
        groups[-1].append(bar)
        last = rank
    return groups


def _near(ordered: Sequence[Bar], share: float) -> list[list[Bar]]:
    groups: list[list[Bar]] = []
    for bar in ordered:
        if groups and bar.middle - groups[-1][0].middle < share * bar.thickness:
            groups[-1].append(bar)
        else:
            groups.append([bar])
    return groups


def colours_of(bars: Sequence[Bar]) -> list[Lab]:
    """Different colours of bars, in their order of appearance."""
    found: list[Lab] = []
    for bar in bars:
        if all(distance(bar.colour, known) > MATCH / 2 for known in found):
            found.append(bar.colour)
    return found


def _ranks(ordered: Sequence[Bar]) -> list[int]:
    """Position of each bar's colour inside a group. All 0 if every category has one bar.

    Colours that appear once each are one series, coloured by category.
    """
    colours = colours_of(ordered)
    index = [int(np.argmin([distance(bar.colour, colour) for colour in colours])) for bar in ordered]
    if len(colours) == 1 or len(colours) > 0.6 * len(ordered):
        return [0] * len(ordered)
    return _even(ordered, index)


def _even(ordered: Sequence[Bar], index: list[int]) -> list[int]:
    """All 0 where bars are evenly spaced, so that colours mark categories such as highlighted ones."""
    middles = [bar.middle for bar in ordered]
    gaps = np.diff(middles)
    width = float(np.median([bar.thickness for bar in ordered]))
    if len(gaps) >= 2 and gaps.max() - gaps.min() < 0.12 * gaps.mean() and gaps.mean() > 1.08 * width:
        return [0] * len(ordered)
    return index


def _labels(chart: BarChart, words: Sequence[Word], places: Sequence[float]) -> list[Label]:
    ends = [end for bar in chart.bars for end in (bar.near, bar.far)]
    if chart.vertical:
        bottom = max([*ends, *([chart.axis.high_pixel] if chart.axis else [])])
        found = labels_below(words, bottom, places)
        return found or labels_below(words, max(bar.near for bar in chart.bars), places)
    left = min([*ends, *([chart.axis.low_pixel] if chart.axis else [])])
    return labels_beside(words, left)


def _unique(texts: Sequence[str]) -> list[str]:
    """Texts that name places: an empty one gets its number."""
    return [text or f"#{place}" for place, text in enumerate(texts, 1)]


def _series(
    parts: ChartParts, groups: Sequence[Sequence[Bar]], texts: Sequence[str], read: dict[Bar, Value], chart: BarChart
) -> list[Series]:  # fmt: skip
    one = not chart.stacked and all(len(group) == 1 for group in groups)
    bars = [bar for group in groups for bar in group]
    colours = colours_of(bars)[:1] if one else colours_of(bars)
    points: list[list[Point]] = [[] for _ in colours]
    for text, group in zip(texts, groups, strict=True):
        for bar in group:
            value, printed, confidence = read[bar]
            index = int(np.argmin([distance(bar.colour, colour) for colour in colours]))
            points[index].append(Point(text, value, bar.tip(chart.vertical), confidence, printed))
    names = ["" if one and len(colours_of(bars)) > 1 else name_of(colour, parts.legend) for colour in colours]
    return [Series(name, hex_of(colour), tuple(row)) for name, colour, row in zip(names, colours, points, strict=True)]


def _reading(
    parts: ChartParts, chart: BarChart, series: list[Series], texts: list[str], taken: set[Word]
) -> ChartReading:
    axis = chart.axis
    taken = taken | set(axis.words if axis else ())
    ends = [end for bar in chart.bars for end in ((bar.near, bar.far) if chart.vertical else (bar.low, bar.high))]
    left = min(word.box[0] for word in taken) if taken else 0.0
    title, _ = parts.headline(min(ends) + 4)
    if chart.vertical:
        named, unit = parts.upright_title(left + 1)
    else:
        named, unit = parts.level_title(max(word.box[3] for word in axis.words) if axis else max(ends), taken)
    values = axis.described(named, unit) if axis else NO_AXIS
    notes = () if axis else ("no value axis was found; values are printed ones, or in proportion to these",)
    confidence = float(np.mean([point.confidence for one in series for point in one.points]))
    categories: Axis = no_axis(texts)
    return ChartReading(
        ChartKind.BAR, title, categories, values, tuple(series), confidence, not chart.vertical, chart.stacked, notes
    )
