"""The suggested chart, adapted to the page: its width, and the theme's colours instead of white paper."""

from __future__ import annotations

from typing import Any

HEIGHT = 300
RADII = {"outerRadius": 95, "radius": 112}
"""Of a pie and of its labels, so that they fit beside an image."""


def on_page(spec: dict[str, Any]) -> dict[str, Any]:
    """A Vega-Lite specification that is as wide as its place, and has no background of its own.

    Charts of lying bars are as high as their categories need; others have a height, and slanted labels.
    """
    lies = spec.get("encoding", {}).get("y", {}).get("field") == "category"
    config = {**spec.get("config", {}), "legend": {"orient": "top", "columns": 4}}
    fitted = {**spec, "background": "transparent", "width": "container", "config": config}
    if isinstance(layers := spec.get("layer"), list):
        fitted["layer"] = [{**layer, "mark": _smaller(layer.get("mark"))} for layer in layers]
    if not lies:
        fitted["height"] = HEIGHT
        config["axisX"] = {"labelAngle": -40, "labelAlign": "right", "labelLimit": 110}
    return fitted


def _smaller(mark: Any) -> Any:
    return {**mark, **{name: size for name, size in RADII.items() if name in mark}} if isinstance(mark, dict) else mark
