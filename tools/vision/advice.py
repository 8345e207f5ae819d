"""Advises a chart for data, with its reason and a Vega-Lite specification.

The rules follow common guidance on the choice of charts (Cleveland and McGill 1984; Few, "Show Me the Numbers"):
positions and lengths are compared better than angles, so a pie is advised only for a few parts of a whole.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from tools.vision.errors import VisionMissing
from tools.vision.measures import Measures

MOST_SLICES = 5
MOST_ASKED_SLICES = 12
"""Slices of a pie that somebody asks for."""
MOST_COLUMNS = 8
"""Categories above which bars lie on their side, so that labels stay level."""
LONG_LABEL = 12
MANY_ORDERS = 1000
"""Ratio of the largest to the smallest value above which a logarithmic scale is advised."""
MOST_ROWS = 2000
LONGEST_TEXT = 80
NOT_SHOWN = re.compile(r"[^ -\[\]-~\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Control characters, ends of lines, backslashes, and what XML 1.0 forbids. The renderer puts titles into expressions,
where the end of a line is an error and a backslash may end the text, and writes SVG on its way, where a forbidden
character ends the process."""
NO_LIMITS = {
    "axis": {"labelLimit": 0, "titleLimit": 0},
    "legend": {"labelLimit": 0, "titleLimit": 0},
    "title": {"limit": 0},
}
"""Texts are cut here. The renderer counts half characters and fails where it cuts through one."""
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


@dataclass(frozen=True)
class ChartAdvice:
    chart: str  # line, pie, bar, grouped bar or horizontal bar
    reason: str
    spec: dict[str, Any]
    """Vega-Lite specification that contains the data."""


def advise(measures: Measures) -> ChartAdvice:
    """The chart that shows the data best. They have at least one value."""
    advice = _advised(measures)
    return replace(advice, spec=_clean(advice.spec))


def chart_of(measures: Measures, kind: str) -> ChartAdvice:
    """The data as a ``bar``, ``line`` or ``pie`` chart that somebody asked for.

    Raises:
        ValueError: the kind is another one, or the data can't be shown so.
    """
    values = _values(measures)
    if kind == "line":
        advice = ChartAdvice("line", "a line was asked for" + _log_reason(values), _line(measures, values))
    elif kind == "bar":
        advice = _bar_advice(measures, values)
    elif kind != "pie":
        raise ValueError(f"There is no chart {kind!r}: choose bar, line or pie.")
    elif len(measures.series) != 1 or not 2 <= len(values) <= MOST_ASKED_SLICES or min(values) <= 0:
        raise ValueError(
            f"A pie shows one column of 2 to {MOST_ASKED_SLICES} numbers, all above 0. Choose a bar chart for these."
        )
    else:
        advice = ChartAdvice("pie", "a pie was asked for", _pie(measures))
    return replace(advice, spec=_clean(advice.spec))


def _values(measures: Measures) -> list[float]:
    return [value for row in measures.values for value in row if value is not None]


def _advised(measures: Measures) -> ChartAdvice:
    values = _values(measures)
    if measures.ordered and len(measures.categories) >= 3:
        reason = "the categories are points in time, and a line shows the change between them"
        return ChartAdvice("line", reason + _log_reason(values), _line(measures, values))
    if _is_whole(measures, values):
        reason = f"the values are {len(values)} parts of one whole"
        return ChartAdvice("pie", reason, _pie(measures))
    return _bar_advice(measures, values)


def _bar_advice(measures: Measures, values: list[float]) -> ChartAdvice:
    labels = max((len(name) for name in measures.categories), default=0)
    across = len(measures.categories) > MOST_COLUMNS or labels > LONG_LABEL
    chart = "horizontal bar" if across else "grouped bar" if len(measures.series) > 1 else "bar"
    why = "separate categories are compared by length"
    side = "; lying bars leave room for many or long labels" if across else ""
    many = "; each series has its own colour" if len(measures.series) > 1 else ""
    return ChartAdvice(chart, why + many + side + _log_reason(values), _bars(measures, values, across=across))


def render(spec: dict[str, Any], scale: float = 1.0) -> bytes:
    """PNG of a Vega-Lite specification. Addresses in it are not followed.

    Raises:
        VisionMissing: vl-convert-python is not installed.
        ValueError: the specification is invalid.
    """
    try:
        import vl_convert
    except ImportError:
        raise VisionMissing("vl-convert-python") from None
    data: bytes = vl_convert.vegalite_to_png(json.dumps(_clean(spec)), scale=scale, allowed_base_urls=[])
    return data


def _clean(node: Any) -> Any:
    """A specification whose texts are short and can be rendered."""
    if isinstance(node, dict):
        return {key: _clean(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_clean(value) for value in node]
    return NOT_SHOWN.sub(" ", node[:LONGEST_TEXT]) if isinstance(node, str) else node


def _is_whole(measures: Measures, values: list[float]) -> bool:
    """Whether one series of a few positive values adds up to a whole."""
    if len(measures.series) != 1 or not 2 <= len(values) <= MOST_SLICES or min(values) <= 0:
        return False
    percentages = measures.units[:1] == ("%",) and abs(sum(values) - 100) <= 2
    return measures.parts or percentages


def _log_reason(values: list[float]) -> str:
    return "; the scale is logarithmic, since the values span several orders of magnitude" if _is_wide(values) else ""


def _is_wide(values: list[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > MANY_ORDERS


def _rows(measures: Measures) -> list[dict[str, Any]]:
    """The data: rows with fixed field names, so that texts of an image are never read as an expression."""
    rows = [
        {"category": category, "series": series or "value", "value": value}
        for series, row in zip(measures.series, measures.values, strict=True)
        for category, value in zip(measures.categories, row, strict=True)
        if value is not None
    ]
    return rows[:MOST_ROWS]


def _base(measures: Measures) -> dict[str, Any]:
    base: dict[str, Any] = {
        "$schema": SCHEMA, "background": "white", "config": NO_LIMITS, "data": {"values": _rows(measures)},
    }  # fmt: skip
    return base | ({"title": measures.title} if measures.title else {})


def _value(measures: Measures, values: list[float]) -> dict[str, Any]:
    single = measures.series[0] if len(measures.series) == 1 else ""
    unit = measures.units[0] if measures.units and len(set(measures.units)) == 1 else ""
    title = f"{single} ({unit})" if single and unit else single or unit or None
    scale = {"scale": {"type": "log"}} if _is_wide(values) else {}
    return {"field": "value", "type": "quantitative", "title": title, **scale}


def _category(measures: Measures) -> dict[str, Any]:
    return {"field": "category", "type": "ordinal", "sort": None, "title": measures.axis or None}


def _colour(measures: Measures) -> dict[str, Any]:
    if len(measures.series) == 1:
        return {}
    return {"color": {"field": "series", "type": "nominal", "sort": None, "title": None}}


def _line(measures: Measures, values: list[float]) -> dict[str, Any]:
    encoding = {"x": _category(measures), "y": _value(measures, values), **_colour(measures)}
    return _base(measures) | {
        "width": 480,
        "height": 280,
        "mark": {"type": "line", "point": True},
        "encoding": encoding,
    }


def _bars(measures: Measures, values: list[float], *, across: bool) -> dict[str, Any]:
    sides = ("y", "x") if across else ("x", "y")
    encoding = {sides[0]: _category(measures), sides[1]: _value(measures, values), **_colour(measures)}
    if len(measures.series) > 1:
        encoding[f"{sides[0]}Offset"] = {"field": "series", "sort": None}
    if _is_wide(values):
        # Bars on a logarithmic scale have no zero to begin at.
        return _base(measures) | {
            "width": 480,
            "mark": {"type": "point", "filled": True, "size": 80},
            "encoding": encoding,
        }
    size = {"width": 480} if across else {"width": {"step": 60}, "height": 280}
    return _base(measures) | size | {"mark": "bar", "encoding": encoding}


def _pie(measures: Measures) -> dict[str, Any]:
    encoding = {
        "theta": {"field": "value", "type": "quantitative", "stack": True},
        "color": {"field": "category", "type": "nominal", "sort": None, "title": measures.axis or None},
        "order": {"field": "value", "type": "quantitative", "sort": "descending"},
    }
    text = {"mark": {"type": "text", "radius": 135}, "encoding": {"text": {"field": "value", "type": "quantitative"}}}
    layers = [{"mark": {"type": "arc", "outerRadius": 115}}, text]
    return _base(measures) | {"layer": layers, "encoding": encoding}
