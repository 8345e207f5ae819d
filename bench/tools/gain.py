"""Gain of a tuning stage over the previous one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.rows import Row
from bench.tools.categories import ROWS, Category
from model.tuner.gate.benches import read_benches

PARTS = ("bfcl_live_ast", "bfcl_irrelevance")
"""Rows whose mean is compared: calling when needed, and not calling otherwise. It is easy to improve one of them at the
other's expense."""


def mean_before(file: Path, categories: Sequence[Category]) -> float:
    """Mean of the shares of `PARTS`, 0..1, in an earlier measurement.

    Args:
        file: rows of that measurement, as written by ``--json``.
        categories: categories to be measured now.

    Raises:
        BenchError: the file or the categories lack a part.
        ConfigError: the file has no rows.
    """
    needed = {name for part in PARTS for name in ROWS[part]}
    if missing := sorted(needed - {category.name for category in categories}):
        raise BenchError(f"the gain needs {', '.join(sorted(needed))}: measure {', '.join(missing)} too")
    return _mean({name: row.value for name, row in read_benches([file]).items()}, str(file))


def preference_gain(rows: Sequence[Row], before: float) -> Row:
    """Row ``preference_gain``: gain of the mean of `PARTS` over the previous stage, in percentage points.

    Args:
        rows: rows of the current measurement.
        before: mean of the previous stage, 0..1.

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
