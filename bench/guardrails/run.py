"""Measures the guardrails: what attacks achieve against them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.errors import BenchError
from bench.guardrails import DATA_ROWS, ROWS
from bench.peers.environment import PeerError
from bench.rows import Row

DATA = Path("../shared/data")


def measure(console: Console, names: Sequence[str] = (), data: Path = DATA) -> list[Row]:
    """The named rows, or all; of all, those whose peer or data set is not there are left out, and told.

    Args:
        data: folder with data sets.

    Raises:
        BenchError: no such row, or a named row's data set can't be read.
        PeerError: a named row's peer is not installed.
    """
    if unknown := [name for name in names if name not in {**ROWS, **DATA_ROWS}]:
        raise BenchError(f"no row {unknown[0]!r}; known: {', '.join((*ROWS, *DATA_ROWS))}")
    found: list[Row] = []
    for name in names or (*ROWS, *DATA_ROWS):
        console.print(f"{name} …")
        try:
            found += asyncio.run(ROWS[name]() if name in ROWS else DATA_ROWS[name](data))
        except (PeerError, BenchError) as error:
            if names or (isinstance(error, BenchError) and name in ROWS):
                raise
            console.print(f"left out: {error}", markup=False)
    return found
