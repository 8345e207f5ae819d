"""The numbers of a query's rows, in the shape from which key points and charts are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tools.vision.measures import ORDERED, Measures

Rows = Sequence[Sequence[Any]]
FIRST_YEAR, LAST_YEAR = 1800, 2100


def measures_of_rows(columns: Sequence[str], rows: Rows) -> Measures:
    """Measures of rows with a column of names and columns of numbers, or with two of names and one of numbers.

    Of two columns of names, the one without points in time, or else the one with fewer names, becomes the series. Years
    count as names, but beside a column of names only if this has a name twice or the column of years is called so.

    Args:
        columns: names of the columns.
        rows: cells of text, numbers or None, as many as there are columns.

    Raises:
        ValueError: the rows have another form; the message says what to select.
    """
    if not rows:
        raise ValueError("The query has no rows.")
    numeric = [place for place in range(len(columns)) if _is_numeric([row[place] for row in rows])]
    if len(numeric) > 1 and _are_years(columns, rows, numeric):
        numeric = numeric[1:]
    if (same := _repeated([columns[place] for place in numeric])) is not None:
        raise ValueError(f"Several columns have the name {same!r}. Give them other names with AS.")
    labels = [place for place in range(len(columns)) if place not in numeric]
    if len(numeric) > 1 and not labels:
        labels, numeric = numeric[:1], numeric[1:]
    if not numeric:
        raise ValueError("A chart needs a column of numbers, such as SUM(amount). All selected columns are texts.")
    if len(labels) == 2 and len(numeric) == 1:
        return _pivoted(columns, rows, labels, numeric[0])
    if len(labels) > 1:
        told = ", ".join(columns[place] for place in labels)
        raise ValueError(f"A chart needs one column of names, or two with one of numbers; these are names: {told}.")
    names = [_text(row[labels[0]]) if labels else str(number) for number, row in enumerate(rows, 1)]
    if (twice := _repeated(names)) is not None:
        raise ValueError(f"Several rows have the same {columns[labels[0]]}: {twice!r}. Use SUM and GROUP BY.")
    series = tuple(columns[place] for place in numeric)
    values = tuple(tuple(_number(row[place]) for row in rows) for place in numeric)
    return Measures(tuple(names), series, values, axis=columns[labels[0]] if labels else "")


def _pivoted(columns: Sequence[str], rows: Rows, labels: Sequence[int], number: int) -> Measures:
    across, down = sorted(labels, key=lambda place: _rank([_text(row[place]) for row in rows]))
    categories = list(dict.fromkeys(_text(row[across]) for row in rows))
    series = list(dict.fromkeys(_text(row[down]) for row in rows))
    cells: dict[tuple[str, str], float | None] = {}
    for row in rows:
        cell = _text(row[down]), _text(row[across])
        if cell in cells:
            raise ValueError(f"Several rows have the same names: {cell[0]!r}, {cell[1]!r}. Use SUM and GROUP BY.")
        cells[cell] = _number(row[number])
    values = tuple(tuple(cells.get((name, category)) for category in categories) for name in series)
    return Measures(tuple(categories), tuple(series), values, axis=columns[across])


def _rank(names: Sequence[str]) -> tuple[bool, int]:
    """Sorts columns of names: points in time first, then by the number of different names, largest first."""
    return not all(ORDERED.fullmatch(name) for name in names), -len(set(names))


def _is_numeric(cells: Sequence[Any]) -> bool:
    filled = [cell for cell in cells if cell is not None]
    return any(map(math.isfinite, filled)) if all(isinstance(cell, int | float) for cell in filled) else False


def _are_years(columns: Sequence[str], rows: Rows, numeric: Sequence[int]) -> bool:
    """Whether the first column of numbers has years. Counts such as 1950 look like them."""
    first = numeric[0]
    if not all(isinstance(row[first], int) and FIRST_YEAR <= row[first] <= LAST_YEAR for row in rows):
        return False
    named = [place for place in range(len(columns)) if place not in numeric]
    twice = any(_repeated([_text(row[place]) for row in rows]) is not None for place in named)
    return not named or twice or "year" in columns[first].lower()


def _repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _number(cell: Any) -> float | None:
    return None if cell is None or not math.isfinite(cell) else float(cell)
