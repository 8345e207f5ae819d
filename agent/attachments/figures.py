"""The numbers of a reading or a table, in the shape from which key points and charts are made."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flightloop.content import Part, Scalar, Table, TablePart
from flightloop.readings import ImageReading
from tools.vision import measures
from tools.vision.measures import Measures
from tools.vision.readings import Axis, AxisScale, ChartKind, ChartReading, Point, Series, TableReading

_EACH = 8
"""Characters that a number counts for."""


def of_reading(reading: ImageReading) -> Measures | None:
    """The numbers of a reading; None for text, and for a table without a column of numbers."""
    if reading.kind == "text":
        return None
    if reading.kind == "table":
        rows = tuple(tuple(row) for row in reading.rows if len(row) == len(reading.columns))
        if not rows:
            return None
        return measures.measures_of(TableReading(tuple(reading.columns), rows, True, reading.confidence, reading.title))
    chart = chart_of(reading)
    return None if chart is None else measures.measures_of(chart)


def chart_of(reading: ImageReading) -> ChartReading | None:
    """The chart of a reading, as the reader had returned it; None for tables and text, and without values."""
    series = tuple(
        Series(one.name, one.colour, tuple(Point(p.x, p.y, p.pixel, p.confidence, p.printed) for p in one.points))
        for one in reading.series
        if one.points
    )
    if reading.kind != "chart" or not series:
        return None
    values = Axis(AxisScale.LINEAR, reading.value_axis, reading.unit)
    names = Axis(AxisScale.CATEGORY, reading.axis)
    return ChartReading(ChartKind(reading.chart or "bar"), reading.title, names, values, series, reading.confidence)


def of_table(table: Table) -> Measures | None:
    """The numbers of a table; None if no column has any."""
    if not table.rows or not table.columns:
        return None
    rows = tuple(tuple(map(cell_text, row)) for row in table.rows)
    return measures.measures_of(TableReading(tuple(table.columns), rows, True, 1.0))


def measures_of(content: Sequence[Part], readings: Sequence[ImageReading]) -> tuple[Measures, ...]:
    """The numbers of all readings and tables of an input."""
    tables = [of_table(part.table) for part in content if isinstance(part, TablePart)]
    return tuple(one for one in [*map(of_reading, readings), *tables] if one is not None)


def characters(content: Sequence[Part], readings: Sequence[ImageReading] = ()) -> int:
    """About how many characters the tables and readings have, for ``guardrails.aside.aside``."""
    tables = [part.table for part in content if isinstance(part, TablePart)]
    rows: list[Sequence[Scalar]] = [table.columns for table in tables]
    rows += [row for table in tables for row in table.rows]
    cells = sum(len(cell) if isinstance(cell, str) else 1 for row in rows for cell in row)
    marks = sum(len(one.points) for reading in readings for one in reading.series)
    read = sum(map(len, (cell for reading in readings for row in reading.rows for cell in row)))
    return cells + _EACH * (sum(map(len, rows)) + marks) + read


def cell_text(value: Scalar) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
