"""Rows of a measurement, shown as a table or written as JSON."""

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
    """A measured figure, optionally compared with a peer's."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    """Name of what the value is compared with."""
    peer_value: float | None = None
    higher_is_better: bool = True
    spread: float | None = None
    """Half the distance between the quartiles; None for a single value or a share."""
    peer_spread: float | None = None
    """``spread`` of the peer's value."""
    note: str | None = None
    """Remark for readers of the figure, such as its conditions."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of a share of ``cases``."""
    cases: int | None = None  # sample size of a share

    @property
    def ratio(self) -> float | None:
        """value / peer_value."""
        return self.value / self.peer_value if self.peer_value else None


def median_row(name: str, values: Sequence[float], unit: str, *, higher_is_better: bool) -> Row:
    """A row with the median of several measurements and their spread."""
    return Row(name, statistics.median(values), unit, higher_is_better=higher_is_better, spread=spread_of(values))


def percentile_95(values: Sequence[float]) -> float:
    """95th percentile; of fewer than two values the largest, or 0."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else max(values, default=0.0)


def spread_of(values: Sequence[float]) -> float | None:
    """Half the distance between the quartiles; None for a single value."""
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2


def show(rows: Sequence[Row], console: Console, title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    table.add_column("row", min_width=max((len(row.name) for row in rows), default=0))
    for column in ("value", "unit", "peer", "peer's value", "ratio"):
        table.add_column(column, justify="right" if column in ("value", "peer's value", "ratio") else "left")
    for row in rows:
        peer = "" if row.peer_value is None else figure(row.peer_value, row.peer_spread)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        unit = row.unit if row.cases is None else f"{row.unit} of {row.cases:,}".lstrip()
        table.add_row(row.name, figure(row.value, row.spread, row.interval), unit, row.peer or "", peer, ratio)
    console.print(table)


def figure(value: float, spread: float | None = None, interval: tuple[float, float] | None = None) -> str:
    """Formats a value with four significant digits, and with its spread or interval if there is one."""
    around = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return f"{value:.4g}" + (f" ± {spread:.2g}" if spread is not None else "") + around


def as_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table for the documentation."""
    return markdown(["row", "value", "cases", "peer", "note"], [_cells(row) for row in rows])


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *lines])


def write(rows: Sequence[Row], file: Path) -> None:
    """Writes JSON: a list of objects with the row's fields and its ratio."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(row) | {"ratio": row.ratio} for row in rows], indent=2) + "\n")


def _cells(row: Row) -> list[str]:
    peer = "" if row.peer_value is None else f"{row.peer}: {figure(row.peer_value)}, ratio {row.ratio:.4f}"
    value = f"{figure(row.value, row.spread, row.interval)} {row.unit}".rstrip()
    return [f"`{row.name}`", value, "" if row.cases is None else f"{row.cases:,}", peer, row.note or ""]
