"""Rows of a measurement, as a table for people and as JSON for whoever compares."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure; ``spread`` is half the distance between its quartiles, None for a single value or a share."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    higher_is_better: bool = True
    spread: float | None = None

    @property
    def ratio(self) -> float | None:
        """value / peer_value."""
        return self.value / self.peer_value if self.peer_value else None


def median_row(name: str, values: Sequence[float], unit: str, *, higher_is_better: bool) -> Row:
    """The median of several measurements with its spread."""
    spread = None
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4)
        spread = (high - low) / 2
    return Row(name, statistics.median(values), unit, higher_is_better=higher_is_better, spread=spread)


def show(rows: Sequence[Row], console: Console, title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    for column in ("row", "value", "unit", "peer", "peer's value", "ratio"):
        table.add_column(column, justify="right" if column in ("value", "peer's value", "ratio") else "left")
    for row in rows:
        value = f"{row.value:.4g}" + (f" ± {row.spread:.2g}" if row.spread is not None else "")
        peer = "" if row.peer_value is None else f"{row.peer_value:.4g}"
        table.add_row(row.name, value, row.unit, row.peer or "", peer, "" if row.ratio is None else f"{row.ratio:.2f}")
    console.print(table)


def write(rows: Sequence[Row], file: Path) -> None:
    """JSON: a list of objects with the row's fields and its ratio."""
    file.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2) + "\n")
