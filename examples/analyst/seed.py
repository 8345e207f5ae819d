"""Fills the tools' data folder at the first start, with the same company every time."""

from __future__ import annotations

import sys
from pathlib import Path

from .company.reports import draw_charts, write_tables
from .company.sales import FILE, fill


def seed(data: Path) -> None:
    database = data / FILE
    fill(database)
    write_tables(data, database)
    try:
        draw_charts(data, database)
    except ImportError as error:  # images can't be read either without it
        print(f"no charts are drawn: {error}", file=sys.stderr)
