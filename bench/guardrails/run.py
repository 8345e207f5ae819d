"""Measures the guardrails: what attacks achieve against them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console

from bench.errors import BenchError
from bench.guardrails import ROWS
from bench.peers.environment import PeerError
from bench.rows import Row


def measure(console: Console, names: Sequence[str] = ()) -> list[Row]:
    """The named rows, or all; of all, those whose peer is not installed are left out, and told.

    Raises:
        BenchError: no such row.
        PeerError: a named row's peer is not installed.
    """
    if unknown := [name for name in names if name not in ROWS]:
        raise BenchError(f"no row {unknown[0]!r}; known: {', '.join(ROWS)}")
    found: list[Row] = []
    for name in names or ROWS:
        console.print(f"{name} …")
        try:
            found += asyncio.run(ROWS[name]())
        except PeerError as error:
            if names:
                raise
            console.print(f"left out: {error}")
    return found
