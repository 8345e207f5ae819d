"""Readings of images, and tables that were sent, as tables to show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flightloop.content import Scalar, Table
from flightloop.readings import ImageReading, ReadPoint
from flightloop.shown import shown

LOW = 0.7
"""Values with less confidence are marked. Measured ones have at least 0.8 if the axis was read, and 0.6 without."""
ROWS, COLUMNS = 1000, 100
"""Most that is shown of a table."""
Cell = str | float | int | bool | None


@dataclass(frozen=True)
class ReadTable:
    columns: tuple[str, ...]
    """Different names, none of them empty."""
    rows: tuple[tuple[Cell, ...], ...]
    confidence: str | None = None
    """Name of the column that has each row's confidence in percent."""
    low: frozenset[int] = frozenset()
    """Indexes of rows with low confidence."""
    cut: str = ""
    """Sentence about the part that is not shown; empty if all is."""


def of_reading(reading: ImageReading) -> ReadTable:
    """Values of a chart with their confidence in percent, cells of a table, or lines of a text."""
    if reading.kind == "table":
        width = max([len(reading.columns), *map(len, reading.rows)])
        names = [*reading.columns, *[""] * (width - len(reading.columns))]
        rows = [[*row, *[""] * (width - len(row))] for row in reading.rows]
        return _table(names, rows)
    if reading.kind == "text":
        return _table(["text"], [[line] for line in reading.lines])
    return _chart(reading)


def of_table(table: Table) -> ReadTable:
    """The first rows and columns of a table that was sent."""
    made = _table(table.columns[:COLUMNS], [row[:COLUMNS] for row in table.rows[:ROWS]])
    if len(table.rows) <= ROWS and len(table.columns) <= COLUMNS:
        return made
    of = f"{len(table.rows):,} rows and {len(table.columns):,} columns"
    return replace(made, cut=f"The first {len(made.rows):,} rows and {len(made.columns):,} columns of {of}.")


def category(x: str | float) -> str:
    """The category or number of a value, for people."""
    return x if isinstance(x, str) else f"{x:.10g}"


def sources(reading: ImageReading) -> list[str]:
    """How the values of a chart were read: ``printed``, ``measured`` or both."""
    return sorted({_source(point) for series in reading.series for point in series.points})


def _chart(reading: ImageReading) -> ReadTable:
    points = [(series.name, point) for series in reading.series for point in series.points]
    head = ["series"] if any(name for name, _ in points) else []
    tail = ["source"] if len(sources(reading)) > 1 else []
    rows: list[list[Scalar]] = [
        [
            *([name] if head else []),
            category(point.x),
            point.y,
            round(100 * point.confidence, 1),
            *([_source(point)] if tail else []),
        ]
        for name, point in points
    ]
    made = _table([*head, reading.axis or "category", _value_name(reading), "confidence", *tail], rows)
    low = frozenset(index for index, (_, point) in enumerate(points) if point.confidence < LOW)
    return replace(made, confidence=made.columns[len(head) + 2], low=low)


def _source(point: ReadPoint) -> str:
    return "printed" if point.printed else "measured"


def _value_name(reading: ImageReading) -> str:
    name = reading.value_axis or "value"
    return f"{name} ({reading.unit})" if reading.unit and reading.unit not in name else name


def _table(names: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> ReadTable:
    mixed = [_is_mixed([row[index] for row in rows]) for index in range(len(names))]
    shown_rows = (tuple(_cell(cell, text=text) for cell, text in zip(row, mixed, strict=True)) for row in rows)
    return ReadTable(_distinct(names), tuple(shown_rows))


def _is_mixed(cells: Sequence[Scalar]) -> bool:
    """Whether a column has cells of several types, so that all of them are shown as text."""
    kinds = {next(kind for kind in (str, bool, object) if isinstance(cell, kind)) for cell in cells if cell is not None}
    return len(kinds) > 1


def _cell(cell: Scalar, *, text: bool) -> Cell:
    if isinstance(cell, str):
        return shown(cell)
    return json.dumps(cell) if text and cell is not None else cell


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns, shown as such, numbered where they are empty or repeat."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        base = shown(name).strip() or f"column {place}"
        number = numbers.get(base, 0) + 1
        while (plain := base if number == 1 else f"{base} ({number})") in found:
            number += 1
        numbers[base] = number
        found[plain] = None
    return tuple(found)
