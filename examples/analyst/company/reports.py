"""Tables and charts that the company's people send along with questions."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

from .charts import bars, line, pie
from .sales import YEARS

YEAR = YEARS[-1]
TABLES = {
    "regions": f"""SELECT region, SUM(revenue) AS revenue, SUM(units) AS units FROM sales
        WHERE month LIKE '{YEAR}-%' GROUP BY region ORDER BY region""",
    "months": f"""SELECT month, SUM(CASE category WHEN 'beans' THEN revenue ELSE 0 END) AS beans,
        SUM(CASE category WHEN 'equipment' THEN revenue ELSE 0 END) AS equipment
        FROM sales JOIN products ON name = product WHERE month LIKE '{YEAR}-%' GROUP BY month ORDER BY month""",
    "products": "SELECT name AS product, price, cost FROM products",
}
"""CSV files by name."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def write_tables(data: Path, database: Path) -> None:
    """Writes the CSV files into ``data/tables``."""
    folder = data / "tables"
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(database)) as opened:
        for name, sql in TABLES.items():
            found = opened.execute(sql)
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([column[0] for column in found.description])
                writer.writerows(found)


def draw_charts(data: Path, database: Path) -> None:
    """Draws the charts into ``data/charts``. Raises ImportError without Pillow."""
    folder = data / "charts"
    with closing(sqlite3.connect(database)) as opened:

        def named(sql: str) -> list[tuple[str, float]]:
            return [(str(name), float(value)) for name, value in opened.execute(sql)]

        of = "FROM sales WHERE month LIKE"
        by_region = [
            named(f"SELECT region, SUM(revenue) {of} '{year}-%' GROUP BY 1 ORDER BY 1") for year in YEARS
        ]  # fmt: skip
        bars(folder / "regions.png", f"Revenue by region, {YEAR} (euros)", by_region[-1:])
        bars(folder / "years.png", "Revenue by region (euros)", by_region, [str(year) for year in YEARS])
        units = named(f"SELECT product, SUM(units) {of} '{YEAR}-%' GROUP BY 1 ORDER BY 2 DESC")
        bars(folder / "units.png", f"Units sold, {YEAR}", [units])
        months = named(f"SELECT month, SUM(revenue) {of} '{YEAR}-%' GROUP BY 1 ORDER BY 1")
        shown = [(name, value) for name, (_, value) in zip(MONTHS, months, strict=True)]
        line(folder / "months.png", f"Revenue per month, {YEAR} (euros)", shown)
        mix = named(f"SELECT product, SUM(revenue) {of} '{YEAR}-%' GROUP BY 1 ORDER BY 2 DESC")
        pie(folder / "mix.png", f"Share of revenue by product, {YEAR}", mix)
