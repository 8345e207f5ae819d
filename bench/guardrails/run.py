"""Measures the guardrails: what attacks achieve against them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.errors import BenchError
from bench.guardrails import DATA_ROWS, ROWS
from bench.peers.environment import PeerError
from bench.rows import Row, figure

DATA = Path("../shared/data")


def measure(
    console: Console,
    names: Sequence[str] = (),
    data: Path = DATA,
    done: Callable[[list[Row]], None] = lambda _rows: None,
) -> list[Row]:
    """The named rows, or all; of all, those whose peer or data set is not there are left out, and told.

    A row that can't be measured does not end the others.

    Args:
        data: folder with data sets.
        done: gets all rows so far, whenever there are new ones.

    Raises:
        BenchError: no such row; or, once the others are measured, the rows that could not be.
    """
    if unknown := [name for name in names if name not in {**ROWS, **DATA_ROWS}]:
        raise BenchError(f"no row {unknown[0]!r}; known: {', '.join((*ROWS, *DATA_ROWS))}")
    found: list[Row] = []
    failed: list[str] = []
    for name in names or (*ROWS, *DATA_ROWS):
        console.print(f"{name} …")
        try:
            new = asyncio.run(ROWS[name]() if name in ROWS else DATA_ROWS[name](data))
        except (PeerError, BenchError) as error:
            optional = not names and (isinstance(error, PeerError) or name in DATA_ROWS)
            console.print(f"{'left out' if optional else 'failed'}: {error}", markup=False)
            failed += () if optional else (f"{name}: {error}",)
            continue
        for row in new:
            console.print(f"  {row.name} {figure(row.value, row.spread, row.interval)} {row.unit}", markup=False)
        found += new
        done(found)
    if failed:
        raise BenchError(f"not measured: {'; '.join(failed)}")
    return found
