"""Inserts the figures of a run into the documentation, between two marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.engine.targets import TARGETS, Target
from bench.errors import BenchError
from bench.rows import Row, figure

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def fill(page: Path, rows: Sequence[Row]) -> None:
    """Inserts the engine's rows into a page.

    Raises:
        BenchError: the page or its marks are missing.
    """
    put(page, fragment(rows))


def put(page: Path, figures: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replaces the text between the marks.

    Raises:
        BenchError: the page or its marks are missing.
    """
    text = page.read_text() if page.is_file() else ""
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise BenchError(f"{page} lacks the marks {marks[0]} and {marks[1]}")
    page.write_text(f"{before}{begin}\n{figures}\n{end}{after}")


def fragment(rows: Sequence[Row], targets: Mapping[str, Target] = TARGETS) -> str:
    """Two tables in Markdown: the figures with a target, and the others."""
    curves = [row for row in rows if row.name.startswith("throughput_")]
    aimed = [row for row in rows if row.name in targets]
    others = [row for row in rows if row not in aimed and row not in curves and row.name != "machine"]
    measured_on = [f"Measured on: {row.note}." for row in rows if row.name == "machine"]
    parts = [*measured_on, _table(aimed, targets), _table(others)]
    return "\n\n".join(part for part in parts if part)


def _table(rows: Sequence[Row], targets: Mapping[str, Target] | None = None) -> str:
    if not rows:
        return ""
    heads = ["row", "value", "peer", "peer's value", "ratio", *(["target", "reached"] if targets else []), "note"]
    lines = [heads, ["---"] * len(heads), *(_cells(row, targets) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row, targets: Mapping[str, Target] | None) -> list[str]:
    peer = "" if row.peer_value is None else f"{figure(row.peer_value, row.peer_spread)} {row.unit}".rstrip()
    cells = [
        f"`{row.name}`",
        f"{figure(row.value, row.spread)} {row.unit}".rstrip(),
        row.peer or "",
        peer,
        "" if row.ratio is None else f"**{row.ratio:.2f}**",
    ]
    if targets:
        target = targets[row.name]
        cells += [str(target), {True: "yes", False: "no", None: "not measured"}[target.met(row)]]
    return [*cells, (row.note or "").replace("|", "\\|")]
