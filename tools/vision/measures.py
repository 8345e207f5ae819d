"""The numbers of a chart or table in one shape: categories and series."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.vision.numerals import Numeral, numeral
from tools.vision.readings import ChartKind, ChartReading, TableReading

LEAST_NUMERIC = 0.7
"""Share of a column's filled cells that are numbers, above which the column is numeric."""
ORDERED = re.compile(
    r"(?:\d{4}(?:\.0)?|\d{4}[-/.年]\d{1,2}.*|Q[1-4].*|\d{1,2}月|"
    r"(?:\d{1,2}\.? ?)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?(?: \d{2,4})?|"
    r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|(?:week|day|month|year) ?\d+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Measures:
    """Numbers by series and category. A value that is missing is None."""

    categories: tuple[str, ...]
    series: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """One row for each series, one value for each category."""
    title: str = ""
    axis: str = ""
    """Name of the categories."""
    units: tuple[str, ...] = ()
    """Unit of each series."""
    parts: bool = False
    """Whether the values are parts of a whole, as in a pie."""

    @property
    def ordered(self) -> bool:
        """Whether the categories are years, dates, months or the like, so that a trend has a meaning."""
        return len(self.categories) >= 2 and all(ORDERED.fullmatch(name.strip()) for name in self.categories)


def measures_of(reading: ChartReading | TableReading) -> Measures | None:
    """The numbers of a reading; None for a table without a column of numbers."""
    return _of_chart(reading) if isinstance(reading, ChartReading) else _of_table(reading)


def _of_chart(reading: ChartReading) -> Measures:
    rows = [
        dict(zip(distinct([name_of(point.x) for point in one.points]), [point.y for point in one.points], strict=True))
        for one in reading.series
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if all(not isinstance(point.x, str) for one in reading.series for point in one.points):
        names.sort(key=float)
    series = tuple(
        one.name or (f"Series {place}" if len(rows) > 1 else "") for place, one in enumerate(reading.series, 1)
    )
    unit = reading.y_axis.unit
    return Measures(
        tuple(names), series, tuple(tuple(row.get(name) for name in names) for row in rows), reading.title,
        reading.x_axis.title, (unit,) * len(series), reading.kind is ChartKind.PIE,
    )  # fmt: skip


def _of_table(reading: TableReading) -> Measures | None:
    columns = list(zip(*reading.rows, strict=True))
    parsed = [[numeral(cell) for cell in column] for column in columns]
    numeric = [place for place in range(len(columns)) if _is_numeric(columns[place], parsed[place])]
    labels = [place for place in range(len(columns)) if place not in numeric]
    if numeric and not labels and _are_years(parsed[0]):
        labels, numeric = [0], numeric[1:]
    if not numeric:
        return None
    names = columns[labels[0]] if labels else tuple(str(place) for place in range(1, len(reading.rows) + 1))
    values = tuple(tuple(found.value if found else None for found in parsed[place]) for place in numeric)
    series = tuple(reading.header[place] or f"Column {place + 1}" for place in numeric)
    units = tuple(_unit(parsed[place]) for place in numeric)
    return Measures(tuple(names), series, values, reading.title, reading.header[labels[0]] if labels else "", units)


def _is_numeric(cells: tuple[str, ...], parsed: list[Numeral | None]) -> bool:
    filled = [found for cell, found in zip(cells, parsed, strict=True) if cell.strip()]
    return bool(filled) and sum(found is not None for found in filled) >= LEAST_NUMERIC * len(filled)


def _are_years(parsed: list[Numeral | None]) -> bool:
    return all(found is not None and 1800 <= found.value <= 2100 and found.value.is_integer() for found in parsed)


def _unit(parsed: list[Numeral | None]) -> str:
    units = {found.unit for found in parsed if found}
    return units.pop() if len(units) == 1 else ""


def distinct(names: Sequence[str]) -> list[str]:
    """Names of one series; the second of one name gets a 2, so that no value replaces another."""
    count: dict[str, int] = {}
    found = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        found.append(name if count[name] == 1 else f"{name} ({count[name]})")
    return found


def name_of(x: str | float) -> str:
    """Name of a category or of a number on the axis."""
    return x if isinstance(x, str) else f"{x:g}"
