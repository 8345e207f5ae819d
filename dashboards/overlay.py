"""Draws the values of a reading over their image, as a Vega-Lite specification.

Texts of the image are data in fields with fixed names, so that they are never read as an expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dashboards.reading_table import LOW, category
from flightloop.readings import ImageReading
from flightloop.shown import shown

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
TALLEST, USUAL_WIDTH = 420, 300
"""Height of the largest picture, and width at which a picture has its own proportions; in pixels of the screen."""
LEAST_HEIGHT = 120
LABELLED = 12
"""Most points whose values are written beside them; of more, they appear on hover."""
SURE, UNSURE = "circle", "diamond"
PALETTE = ("#4F6BED", "#12A594", "#E5A000", "#D6409F", "#7C66DC", "#E5484D", "#0090FF", "#86A310")
"""Colours of series whose own colour is unknown."""
AMBER, INK = "#B45309", "#171A26"
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


def overlay(url: str, reading: ImageReading) -> dict[str, Any]:
    """An image, with a mark at each value that was read, in the colour of its series.

    The picture takes the width of its place. Its scales keep its proportions at any width.

    Args:
        url: the image as a data URL.
    """
    rows = list(marks(reading))
    layers = [_image(url, reading)]
    if rows:
        layers.append(_points(rows))
    if 0 < len(rows) <= LABELLED:
        layers += [_labels(rows, halo=True), _labels(rows, halo=False)]
    wide, high = reading.width, reading.height
    return {
        "$schema": SCHEMA,
        "description": f"Image with {len(rows)} values that were read in it",
        "width": "container",
        "height": max(LEAST_HEIGHT, min(TALLEST, round(USUAL_WIDTH * high / wide))),
        "background": "transparent",
        "view": {"stroke": None},
        "config": {"axis": {"disable": True}},
        "layer": [{**layer, "encoding": {**_place(wide, high), **layer["encoding"]}} for layer in layers],
    }


def marks(reading: ImageReading) -> Iterator[dict[str, Any]]:
    """A row for each value of a chart: its place, what was read there, and how it is drawn."""
    for index, series in enumerate(reading.series):
        known = _COLOUR.fullmatch(series.colour)
        for point in series.points:
            yield {
                "x": point.pixel[0],
                "y": point.pixel[1],
                "series": shown(series.name),
                "category": shown(category(point.x)),
                "value": f"{point.y:,.6g}",
                "label": f"{point.y:,.0f}" if abs(point.y) >= 100 else f"{point.y:.3g}",
                "how": "printed" if point.printed else "measured",
                "confidence": f"{point.confidence:.0%}",
                "colour": series.colour if known else PALETTE[index % len(PALETTE)],
                "low": point.confidence < LOW,
            }


def _place(wide: int, high: int) -> dict[str, Any]:
    """Channels x and y in pixels of the image. The longer side fills the view, the other one keeps proportion."""
    horizontal = {"domainMin": 0, "domainMax": {"expr": f"max({wide}, {high} * width / height)"}}
    vertical = {"domainMin": 0, "domainMax": {"expr": f"max({high}, {wide} * height / width)"}, "reverse": True}
    common = {"nice": False, "zero": False}
    return {
        "x": {"field": "x", "type": "quantitative", "scale": {**horizontal, **common}},
        "y": {"field": "y", "type": "quantitative", "scale": {**vertical, **common}},
    }


def _image(url: str, reading: ImageReading) -> dict[str, Any]:
    row = {"x": 0, "y": 0, "right": reading.width, "bottom": reading.height, "url": url}
    return {
        "data": {"values": [row]},
        "mark": {"type": "image", "aspect": False, "tooltip": None},
        "encoding": {"x2": {"field": "right"}, "y2": {"field": "bottom"}, "url": {"field": "url", "type": "nominal"}},
    }


def _points(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("series", "category", "value", "how", "confidence")
    told = [name for name in names if any(row[name] for row in rows)]
    return {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {
            "fill": {"field": "colour", "type": "nominal", "scale": None},
            "shape": {"condition": {"test": "datum.low", "value": UNSURE}, "value": SURE},
            "stroke": {"condition": {"test": "datum.low", "value": AMBER}, "value": "white"},
            "strokeWidth": {"condition": {"test": "datum.low", "value": 3}, "value": 2},
            "tooltip": [{"field": name, "type": "nominal"} for name in told],
        },
    }


def _labels(rows: list[dict[str, Any]], *, halo: bool) -> dict[str, Any]:
    """The values beside their marks. A white halo behind them keeps them readable on any image."""
    mark = {"type": "text", "dy": -11, "fontSize": 11, "fontWeight": 600, "baseline": "bottom", "tooltip": None}
    around = {"stroke": "white", "strokeWidth": 4, "strokeJoin": "round"} if halo else {}
    return {
        "data": {"values": [{**row, "label": f"{row['label']} ?" if row["low"] else row["label"]} for row in rows]},
        "mark": {**mark, **around},
        "encoding": {
            "text": {"field": "label", "type": "nominal"},
            "color": {"condition": {"test": "datum.low", "value": AMBER}, "value": INK},
        },
    }
