"""What a stage of tuning gained over the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.rows import Row
from bench.tools.categories import ROWS, Category
from model.tuner.gate.benches import read_benches

PARTS = ("bfcl_live_ast", "bfcl_irrelevance")
"""To call where a call is due, and not where none is: either alone is easily gained at the other's cost."""


def mean_before(file: Path, categories: Sequence[Category]) -> float:
    """The mean of the parts' shares, 0..1, in rows that were written before.

    Args:
        file: written by ``--json``.
        categories: those that are to be measured now.

    Raises:
        BenchError: the file lacks a part, or the categories do.
        ConfigError: the file is not one of rows.
    """
    needed = {name for part in PARTS for name in ROWS[part]}
    if missing := sorted(needed - {category.name for category in categories}):
        raise BenchError(f"what was gained is told by {', '.join(sorted(needed))}: measure {', '.join(missing)} too")
    return _mean({name: row.value for name, row in read_benches([file]).items()}, str(file))


def preference_gain(rows: Sequence[Row], before: float) -> Row:
    """The row of the points by which the mean of the parts is above that of the stage before.

    Args:
        rows: as measured now.
        before: the mean of the stage before, 0..1.

    Raises:
        BenchError: a part was not measured.
    """
    now = _mean({row.name: row.value for row in rows}, "this measurement")
    note = f"mean of live AST and irrelevance: {now:.1%} against {before:.1%}"
    return Row("preference_gain", 100 * (now - before), "points", note=note)


def _mean(shares: Mapping[str, float], where: str) -> float:
    if missing := [name for name in PARTS if name not in shares]:
        raise BenchError(f"{where} has no {' and no '.join(missing)}")
    return sum(shares[name] for name in PARTS) / len(PARTS)
