"""Measures the guardrails: what attacks achieve against them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console

from bench.errors import BenchError
from bench.guardrails import ROWS
from bench.rows import Row


def measure(console: Console, names: Sequence[str] = ()) -> list[Row]:
    """The named rows, or all. Raises BenchError: no such row."""
    if unknown := [name for name in names if name not in ROWS]:
        raise BenchError(f"no row {unknown[0]!r}; known: {', '.join(ROWS)}")
    found: list[Row] = []
    for name in names or ROWS:
        console.print(f"{name} …")
        found += asyncio.run(ROWS[name]())
    return found
