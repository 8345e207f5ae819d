"""Compares a reading with the truth of a drawn chart or table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from bench.charts.specimen import Specimen
from tools.vision.readings import ChartReading, Reading, Series, TableReading

NEAR = 0.05
"""Largest relative error of a value that counts as right."""
ALIKE = 0.6
"""Least similarity of a read label to the true one."""


def values_right(specimen: Specimen, reading: Reading) -> list[bool]:
    """For each true value, whether the reading has it within 5 %, under its series and category."""
    return [is_near(value, truth) for row in value_pairs(specimen, reading) for truth, value in row]


def value_pairs(specimen: Specimen, reading: Reading) -> list[list[tuple[float, float | None]]]:
    """Each true value with the read one of its series and category, None if there is none; a row for each series.

    Series and categories are matched by their labels; where these were not read, by their order. The values of a pie
    are percentages if the reading's are.
    """
    if not isinstance(reading, ChartReading) or str(reading.kind) != specimen.kind:
        return [[(truth, None) for truth in row] for row in specimen.values]
    found = _matched(specimen.names, [one.name for one in reading.series])
    return [
        _row_pairs(specimen, row, reading.series[found[index]] if index in found else None)
        for index, row in enumerate(specimen.values)
    ]


def _row_pairs(specimen: Specimen, row: Sequence[float], series: Series | None) -> list[tuple[float, float | None]]:
    if series is None:
        return [(truth, None) for truth in row]
    truth = list(row)
    values = [point.y for point in series.points]
    place = _matched(specimen.categories, [_name(point.x) for point in series.points])
    if specimen.kind == "pie" and (not specimen.printed or abs(sum(values) - 100) < 1.5):
        truth = [100 * value / sum(row) for value in row]
    return [(value, values[place[index]] if index in place else None) for index, value in enumerate(truth)]


def is_near(value: float | None, truth: float) -> bool:
    """Whether a read value counts as right."""
    return value is not None and abs(value - truth) <= NEAR * abs(truth) + 1e-9


def _name(x: str | float) -> str:
    return x if isinstance(x, str) else f"{x:g}"


def _matched(truth: Sequence[str], read: Sequence[str]) -> dict[int, int]:
    """Index of the read label of each true one, most similar pairs first; the rest by order if none is left over."""
    pairs = sorted(
        (-SequenceMatcher(None, first, second).ratio(), abs(i - j), i, j)
        for i, first in enumerate(truth) for j, second in enumerate(read)
    )  # fmt: skip
    found: dict[int, int] = {}
    for ratio, _, i, j in pairs:
        if -ratio >= ALIKE and i not in found and j not in found.values():
            found[i] = j
    left, free = (
        [i for i in range(len(truth)) if i not in found],
        [j for j in range(len(read)) if j not in found.values()],
    )
    if len(left) == len(free):
        found |= dict(zip(left, free, strict=True))
    return found


def cells_right(rows: Sequence[Sequence[str]], reading: Reading) -> list[bool]:
    """For each cell of a table (header first), whether it was read in its place, spaces aside."""
    read = [list(reading.header), *map(list, reading.rows)] if isinstance(reading, TableReading) else []
    right = []
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            same = i < len(read) and j < len(read[i]) and read[i][j].replace(" ", "") == cell.replace(" ", "")
            right.append(same)
    return right
