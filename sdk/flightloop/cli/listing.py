"""Table of runs for a terminal, one line per run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from flightloop.cli.render import short, status_text
from flightloop.content import text_of
from flightloop.runs import Run
from flightloop.shown import shown

GAP = 2
LONG, SHORT = "long", "short"
LAYOUTS = (
    (("run", "status", "agent", LONG), 40),
    (("run", "status", "agent", SHORT), 28),
    (("run", "status", SHORT), 10),
    (("run", "status"), 0),
)
"""Column sets, each with the minimum width left for the input. Ids are never cut, so that they can be copied."""


def run_table(runs: Iterable[Run], width: int, now: datetime | None = None) -> Table:
    """Table with as many columns as ``width`` allows; the input gets the rest."""
    listed, now = list(runs), now or datetime.now(UTC)
    for names, least in LAYOUTS:
        columns = [_column(name, listed, now) for name in names]
        left = width - sum(max(map(_width, cells)) + GAP for cells in columns)
        if left >= least:
            break
    table = Table(box=None, header_style="dim", show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for heading, *_ in columns:
        table.add_column(heading, overflow="fold")
    rows = [*zip(*(cells[1:] for cells in columns), strict=True)]
    if left >= len("input"):
        table.add_column("input", no_wrap=True)
        rows = [(*row, _input(run, left)) for row, run in zip(rows, listed, strict=True)]
    for row in rows:
        table.add_row(*row)
    return table


def _input(run: Run, width: int) -> Text:
    text = Text(shown(short(text_of(run.input))))  # measured after filtering: replacement characters take a column
    text.truncate(width, overflow="ellipsis")
    return text


def _width(cell: Text) -> int:
    return cell_len(cell.plain)


def _column(name: str, runs: Iterable[Run], now: datetime) -> list[Text]:
    """Heading and cells of a column."""
    made: dict[str, Callable[[Run], Text]] = {
        "run": lambda run: Text(run.id),
        "status": lambda run: status_text(run.status),
        "agent": lambda run: Text(run.agent),
        LONG: lambda run: Text(f"{run.created_at.astimezone():%d %b %H:%M:%S}"),
        SHORT: lambda run: Text(_time_or_day(run.created_at.astimezone(), now.astimezone())),
    }
    heading = "created" if name in (LONG, SHORT) else name
    return [Text(heading), *map(made[name], runs)]


def _time_or_day(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%d %b}"
