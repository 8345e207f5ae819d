"""The seeded company: the same sales every time.

Uses only ``random.Random.random``, because Python keeps its sequence the same between versions.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

FILE = "sales.db"
"""Name of the database in the tools' data folder. project.yaml contains it too."""
SCHEMA = Path(__file__).parent / "schema.sql"
SEED = 20260115
YEARS = (2024, 2025)
MONTHS = tuple(f"{year}-{month:02}" for year in YEARS for month in range(1, 13))
REGIONS = {"North": 1.0, "South": 0.72, "East": 0.45, "West": 1.24}
"""Regions with their size."""
PRODUCTS = (
    # name, category, price, cost, units in an average month of a region of size 1, growth in a year
    ("Espresso", "beans", 14, 6, 410, 0.12),
    ("Filter", "beans", 12, 5, 330, 0.05),
    ("Decaf", "beans", 13, 6, 90, -0.08),
    ("Grinder", "equipment", 89, 52, 24, 0.20),
    ("Kettle", "equipment", 65, 37, 31, 0.02),
    ("Mug", "equipment", 9, 3, 150, -0.15),
)
LAUNCH = {"East": "2024-07"}
"""First month of a region that was opened later."""
SEASONS = {
    "beans": (1.15, 1.12, 1.06, 1.0, 0.94, 0.88, 0.86, 0.88, 0.94, 1.0, 1.08, 1.14),
    "equipment": (0.95, 0.9, 0.95, 1.0, 1.0, 0.95, 0.9, 0.9, 0.95, 1.05, 1.7, 1.95),
}
"""More coffee in winter; more equipment before Christmas. By category and month."""
TARGETS = {2024: 1.0, 2025: 1.12}
TARGET = 200_000
"""Revenue that a region of size 1 should reach in 2024."""


def fill(path: Path) -> None:
    """Writes the company's database to ``path``, in place of what is there."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA.read_text(encoding="utf-8"))
        database.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", [product[:4] for product in PRODUCTS])
        database.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?)", _sales())
        database.executemany("INSERT INTO targets VALUES (?, ?, ?)", _targets())


def _sales() -> Iterator[tuple[str, str, str, int, int]]:
    rng = random.Random(SEED)
    for place, month in enumerate(MONTHS):
        for region, size in REGIONS.items():
            for name, category, price, _, units, growth in PRODUCTS:
                noise = 0.88 + 0.24 * rng.random()
                sold = round(units * size * (1 + growth * place / 12) * SEASONS[category][place % 12] * noise)
                if month >= LAUNCH.get(region, ""):
                    yield month, region, name, sold, sold * price


def _targets() -> Iterator[tuple[int, str, int]]:
    for year, factor in TARGETS.items():
        for region, size in REGIONS.items():
            if f"{year}-12" >= LAUNCH.get(region, ""):
                part = 0.5 if LAUNCH.get(region, "").startswith(str(year)) else 1.0
                yield year, region, round(TARGET * size * factor * part / 1000) * 1000
