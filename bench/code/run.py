"""Measurements of code, by kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.code import scanner
from bench.errors import BenchError
from bench.rows import Row

KINDS: dict[str, Callable[[], list[Row]]] = {"scanner": scanner.measure}


def measure(kinds: Sequence[str] = ()) -> list[Row]:
    """Rows of the kinds named, or of all. Raises BenchError: a kind is unknown."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BenchError(f"--rows: unknown {', '.join(unknown)}; known: {', '.join(KINDS)}")
    return [row for kind in kinds or KINDS for row in KINDS[kind]()]
