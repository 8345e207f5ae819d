"""Compares measurements of ``python -m bench`` with new experts and with those in use, row by row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightloop.errors import ConfigError
from model.tuner.gate.figure import Allowance, Figure, Interval


@dataclass(frozen=True)
class BenchRow:
    """A row of a bench's results. A share has an ``interval`` (95 % confidence); ``cases`` is its sample size."""

    name: str
    value: float
    higher_is_better: bool
    interval: Interval | None
    cases: int | None


def read_benches(paths: Sequence[Path]) -> dict[str, BenchRow]:
    """Rows of all files, by name.

    Raises:
        ConfigError: a file has no rows, or a row occurs twice.
    """
    rows: dict[str, BenchRow] = {}
    for path in paths:
        try:
            found = {row["name"]: _row(row) for row in json.loads(path.read_text(encoding="utf-8"))}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} has no bench rows ({error}); create it with python -m bench NAME --json FILE", param="bench"
            ) from error
        twice = sorted(rows.keys() & found.keys())
        if twice:
            raise ConfigError(f"{path} repeats rows of another file: {', '.join(twice)}", param="bench")
        rows |= found
    return rows


def _row(row: Any) -> BenchRow:
    interval = row.get("interval")
    between = None if interval is None else (float(interval[0]), float(interval[1]))
    return BenchRow(str(row["name"]), float(row["value"]), bool(row["higher_is_better"]), between, row.get("cases"))


def compare_benches(old: Mapping[str, BenchRow], new: Mapping[str, BenchRow], allowance: Allowance) -> list[Figure]:
    """A figure for each row of the old measurement.

    Two shares are treated as independent samples, so their difference has to be larger than if the cases were paired. A
    row without an interval gets a verdict only if ``allowance`` names it, based on the plain difference.

    Raises:
        ConfigError: only one measurement is given, or the new one lacks a row or has another number of cases.
    """
    if bool(old) != bool(new):
        raise ConfigError("--bench and --bench-in-use go together: give both or neither", param="bench")
    other = [name for name, row in old.items() if name not in new or _cases(row) != _cases(new[name])]
    if other:
        raise ConfigError(f"the benches differ in {', '.join(other)}: measure both on the same cases", param="bench")
    return [_figure(row, new[name], allowance) for name, row in old.items()]


def _cases(row: BenchRow) -> int | None:
    """Cases of a share; None for other rows, whose cases count occurrences."""
    return None if row.interval is None else row.cases


def _figure(old: BenchRow, new: BenchRow, allowance: Allowance) -> Figure:
    interval = _interval(old, new, known=old.name in allowance.named)
    return Figure(
        old.name, old.value, new.value, interval, old.higher_is_better, allowance.of(old.name), cases=_cases(old)
    )


def _interval(old: BenchRow, new: BenchRow, *, known: bool) -> Interval | None:
    """Interval of the difference of two shares, from the interval of each.

    Source: Newcombe, "Interval estimation for the difference between independent proportions" (1998), method 10.
    """
    difference = new.value - old.value
    if old.interval is None or new.interval is None:
        return (difference, difference) if known else None
    down = math.hypot(new.value - new.interval[0], old.interval[1] - old.value)
    up = math.hypot(new.interval[1] - new.value, old.value - old.interval[0])
    return difference - down, difference + up
