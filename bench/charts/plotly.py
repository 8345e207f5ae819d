"""Figures of Plotly, as JSON."""

from __future__ import annotations

from typing import Any

from bench.charts.specimen import Specimen

TEMPLATES = ("plotly", "plotly", "plotly_white", "plotly_dark", "ggplot2", "seaborn", "simple_white", "presentation")
FONTS = ("Open Sans", "Liberation Sans", "Liberation Serif", "Roboto", "Lato")


def figure(specimen: Specimen, size: dict[str, int]) -> dict[str, Any]:
    """Data and layout for ``Plotly.newPlot``."""
    import plotly.io as pio

    pick = specimen.choice("plotly")
    template = pio.templates[pick.choice(TEMPLATES)].to_plotly_json()
    family = "Noto Sans CJK SC" if specimen.chinese else pick.choice(FONTS)
    font = {"family": family, "size": pick.randint(10, 15)}
    layout: dict[str, Any] = {
        "template": template, "title": {"text": specimen.title}, "font": font,
        "showlegend": len(specimen.names) > 1 or specimen.kind == "pie", **size,
    }  # fmt: skip
    if pick.random() < 0.3:
        layout["legend"] = {"orientation": "h"}
    if specimen.kind == "pie":
        return {"data": [_pie(specimen)], "layout": layout}
    layout |= {"barmode": "stack" if specimen.stacked else "group", "bargap": pick.uniform(0.15, 0.45)}
    sides = ("yaxis", "xaxis") if specimen.horizontal else ("xaxis", "yaxis")
    layout[sides[0]] = {"type": "category", **({"tickangle": pick.choice((0, -45, 90))} if pick.random() < 0.4 else {})}
    layout[sides[1]] = {"type": "log" if specimen.log else "linear", "title": {"text": specimen.unit}}
    return {"data": [_trace(specimen, index) for index in range(len(specimen.names))], "layout": layout}


def _trace(specimen: Specimen, index: int) -> dict[str, Any]:
    pick = specimen.choice("plotly trace")
    values = list(specimen.values[index])
    sides = ("y", "x") if specimen.horizontal else ("x", "y")
    trace: dict[str, Any] = {sides[0]: list(specimen.categories), sides[1]: values, "name": specimen.names[index]}
    text = [specimen.label(value) for value in values]
    if specimen.kind == "bar":
        trace |= {"type": "bar", "orientation": "h" if specimen.horizontal else "v"}
        if specimen.printed:
            trace |= {"text": text, "textposition": pick.choice(("auto", "outside", "inside"))}
        return trace
    mode = "lines+markers" if specimen.markers else "lines"
    if specimen.printed:
        mode, trace["text"], trace["textposition"] = f"{mode}+text", text, "top center"
    return trace | {"type": "scatter", "mode": mode, "line": {"width": pick.choice((1.5, 2, 3))}}


def _pie(specimen: Specimen) -> dict[str, Any]:
    pick = specimen.choice("plotly pie")
    labels, values = list(specimen.categories), list(specimen.values[0])
    return {
        "type": "pie", "labels": labels, "values": values, "sort": pick.random() < 0.5,
        "hole": pick.choice((0, 0, 0.4)), "textinfo": pick.choice(("percent", "value")) if specimen.printed else "none",
    }  # fmt: skip
