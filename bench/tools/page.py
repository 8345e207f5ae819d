"""Formats the figures as tables, for the console and the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from bench.rows import Row, as_markdown, figure, markdown
from bench.tools.rows import Tally

Tallies = Mapping[str, Sequence[Tally]]
"""Tallies of each configuration, by the suffix of its rows' names."""

_HEADS = ("category", "right", "of", "share", "called")


def outcomes(tallies: Tallies) -> Table:
    """Table of the categories' cases, with failures by kind."""
    heads, lines = _outcomes(tallies)
    table = Table(box=None, header_style="dim")
    for head in heads:
        table.add_column(head, justify="left" if head == "category" else "right")
    for line in lines:
        table.add_row(*line)
    return table


def fragment(rows: Sequence[Row], tallies: Tallies, about: str, chart: str | None = None) -> str:
    """Two tables in Markdown: the rows, and the categories.

    Args:
        rows, tallies: the measurement.
        about: description of the measurement.
        chart: file of the diagram, if there is one.
    """
    image = [f"![Reliability diagram]({chart})"] if chart else []
    return "\n\n".join([f"{about}.", as_markdown(rows), markdown(*_outcomes(tallies)), *image])


def _outcomes(tallies: Tallies) -> tuple[list[str], list[list[str]]]:
    kinds = sorted({kind for each in tallies.values() for tally in each for kind in tally.failures})
    lines = []
    for suffix, each in tallies.items():
        for tally in each:
            share = figure(tally.share, interval=tally.interval)
            counts = [str(tally.failures[kind]) for kind in kinds]
            name = tally.category.name + suffix
            lines.append([name, str(tally.right), str(len(tally.played)), share, str(tally.called), *counts])
    return [*_HEADS, *kinds], lines
