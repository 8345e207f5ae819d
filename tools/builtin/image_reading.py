"""A reading of an image as JSON, for ``tools.builtin.image``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tools.vision import ChartReading, Reading, TableReading
from tools.vision.advice import advise
from tools.vision.key_points import key_points
from tools.vision.measures import measures_of

MOST_POINTS = 200
MOST_ROWS = 100
MOST_LINES = 200
MOST_KEY_POINTS = 12


def described(reading: Reading, *, with_chart: bool = False) -> dict[str, Any]:
    """A reading as JSON: its values, key points and the advised chart."""
    if isinstance(reading, ChartReading):
        result = _chart(reading)
    elif isinstance(reading, TableReading):
        rows = [list(row) for row in reading.rows[:MOST_ROWS]]
        result = {"kind": "table", "title": reading.title, "columns": list(reading.header), "rows": rows}
        if len(reading.rows) > MOST_ROWS:
            result["note"] = f"only the first {MOST_ROWS} of {len(reading.rows)} rows are shown"
    else:
        return {"kind": "text", "lines": [line.text for line in reading.lines[:MOST_LINES]]}
    measures = measures_of(reading)
    if measures:
        advice = advise(measures)
        result["key_points"] = [point.text for point in key_points(measures)[:MOST_KEY_POINTS]]
        result["advised_chart"] = {"chart": advice.chart, "reason": advice.reason}
        if with_chart:
            result["advised_chart"]["vega_lite"] = advice.spec
    return result


def _chart(reading: ChartReading) -> dict[str, Any]:
    series = [
        {"name": one.name, "colour": one.colour, "values": [
            [point.x, float(f"{point.y:.6g}"), "printed" if point.printed else "measured"]
            for point in one.points[:MOST_POINTS]
        ]}
        for one in reading.series
    ]  # fmt: skip
    axis = {key: value for key, value in asdict(reading.y_axis).items() if value not in ("", None, ())}
    return {
        "kind": f"{reading.kind} chart", "title": reading.title, "value_axis": axis, "series": series,
        "confidence": round(reading.confidence, 2), "notes": list(reading.notes),
    }  # fmt: skip
