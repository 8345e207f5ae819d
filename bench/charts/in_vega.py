"""Charts drawn by Vega-Lite, rendered by vl-convert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.charts.specimen import Specimen

THEMES = ("", "", "dark", "excel", "ggplot2", "quartz", "vox", "fivethirtyeight", "latimes", "urbaninstitute")
SCHEMES = ("tableau10", "category10", "set2", "dark2", "accent", "tableau20")


def draw(specimen: Specimen) -> bytes:
    """PNG of the specimen."""
    import vl_convert

    pick = specimen.choice("vega")
    theme = pick.choice(THEMES)
    spec = _spec(specimen) | {"background": "#333333" if theme == "dark" else "white"}
    options: dict[str, Any] = {"scale": pick.choice((1.0, 1.0, 1.5, 2.0))}
    if theme:
        options["config"] = _theme(vl_convert.get_themes(), theme)
    data: bytes = vl_convert.vegalite_to_png(spec, **options)
    return data


def _theme(themes: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """A theme in which every font has another to stand in: a text whose only font is missing would not be drawn."""
    theme: dict[str, Any] = json.loads(json.dumps(themes[name]).replace('"Lato"', '"Lato, sans-serif"'))
    return theme


def _spec(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("vega spec")
    rows = [
        {"category": category, "series": name, "value": value}
        for name, row in zip(specimen.names, specimen.values, strict=True)
        for category, value in zip(specimen.categories, row, strict=True)
    ]
    spec: dict[str, Any] = {"data": {"values": rows}, "padding": pick.randint(5, 20)}
    if specimen.title:
        spec["title"] = specimen.title
    if specimen.chinese:
        spec["config"] = {"font": "Noto Sans CJK SC"}
    if specimen.kind == "pie":
        return spec | _pie(specimen)
    spec |= {"width": pick.randint(280, 620), "height": pick.randint(220, 420)}
    layers = [_marks(specimen)]
    if specimen.printed and not specimen.stacked and len(specimen.names) == 1:
        layers.append(_labels(specimen))
    return spec | {"layer": layers, "encoding": _encoding(specimen)}


def _encoding(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("vega encoding")
    axis = {"labelAngle": pick.choice((0, -45, -90))} if not specimen.horizontal else {}
    title = specimen.unit or None
    scale: dict[str, Any] = {"type": "log"} if specimen.log else {"zero": specimen.kind == "bar"}
    category = {"field": "category", "type": "ordinal", "sort": None, "axis": axis, "title": None}
    stack = {"stack": "zero" if specimen.stacked else None} if specimen.kind == "bar" else {}
    value = {"field": "value", "type": "quantitative", "title": title, "scale": scale,
             "axis": {"grid": pick.random() < 0.7}, **stack}  # fmt: skip
    sides = ("y", "x") if specimen.horizontal else ("x", "y")
    encoding: dict[str, Any] = {sides[0]: category, sides[1]: value}
    if len(specimen.names) > 1:
        legend = {"orient": pick.choice(("right", "top", "bottom")), "title": None}
        scheme = {"scheme": pick.choice(SCHEMES)}
        encoding["color"] = {"field": "series", "sort": None, "legend": legend, "scale": scheme}
        if specimen.kind == "bar" and not specimen.stacked:
            encoding[f"{sides[0]}Offset"] = {"field": "series", "sort": None}
    return encoding


def _marks(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("vega marks")
    if specimen.kind == "bar":
        return {"mark": {"type": "bar", "cornerRadiusEnd": pick.choice((0, 0, 4))}}
    return {"mark": {"type": "line", "point": specimen.markers, "strokeWidth": pick.choice((1.5, 2, 3))}}


def _labels(specimen: Specimen) -> dict[str, Any]:
    place = {"align": "left", "dx": 3} if specimen.horizontal else {"baseline": "bottom", "dy": -4}
    return {"mark": {"type": "text", **place}, "encoding": {"text": {"field": "value", "type": "quantitative"}}}


def _pie(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("vega pie")
    radius = pick.randint(80, 160)
    hole = pick.choice((0, 0, 0.4, 0.6)) * radius
    theta = {"field": "value", "type": "quantitative", "stack": True}
    order = {"field": "category", "type": "nominal", "sort": None}
    layers: list[dict[str, Any]] = [{"mark": {"type": "arc", "outerRadius": radius, "innerRadius": hole}}]
    if specimen.printed:
        text = {"field": "value", "type": "quantitative"}
        layers.append({"mark": {"type": "text", "radius": radius + 18}, "encoding": {"text": text}})
    return {"layer": layers, "encoding": {"theta": theta, "color": order | {"title": None}, "order": {"value": None}}}
