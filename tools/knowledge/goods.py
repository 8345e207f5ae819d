"""What the shop's database has for everybody to know: goods, and what orders are paid and brought with."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.shop.database import FILE, reading

MOST_PRODUCTS, MOST_TERMS = 20_000, 200
MOST_SECONDS, WAIT_SECONDS = 2.0, 0.25
MOST_BYTES = 1024 * 1024
"""Of a value."""
_PRODUCTS = f"""
    SELECT id, CAST(IFNULL(name, '') AS TEXT) name, CAST(IFNULL(category, '') AS TEXT) category,
        CAST(IFNULL(price_cents, 0) AS INTEGER) price_cents, CAST(IFNULL(stock, 0) AS INTEGER) stock,
        CAST(IFNULL(warranty_months, 0) AS INTEGER) warranty_months, final_sale
    FROM products WHERE typeof(id) = 'integer' ORDER BY id LIMIT {MOST_PRODUCTS}
"""
"""Of whatever types the values are: a table of SQLite holds any."""
_TERMS = (
    ("payment method", f"SELECT DISTINCT payment FROM orders ORDER BY 1 LIMIT {MOST_TERMS}"),
    ("carrier", f"SELECT DISTINCT carrier FROM deliveries ORDER BY 1 LIMIT {MOST_TERMS}"),
)


@dataclass(frozen=True)
class Product:
    """A row of the table ``products``."""

    id: int
    name: str
    category: str
    price_cents: int
    stock: int
    warranty_months: int
    final_sale: bool


@dataclass(frozen=True)
class Goods:
    """``terms``: names by what they are (carrier, payment method)."""

    products: Sequence[Product] = ()
    terms: Sequence[tuple[str, str]] = ()


def read_goods(data: Path) -> Goods:
    """Of the folder's shop; none where there is no shop, or one of another make.

    Raises:
        sqlite3.Error: the database is locked, damaged, or too slow to read.
    """
    if (data / FILE).is_symlink() or not (data / FILE).is_file():
        return Goods()
    with reading(data) as database:
        _limit(database)
        if not _has_tables(database, "products", "orders", "deliveries"):
            return Goods()
        rows = database.execute(_PRODUCTS)
        products = [Product(**{**dict(row), "final_sale": bool(row["final_sale"])}) for row in rows]
        terms = [(kind, str(row[0])) for kind, sql in _TERMS for row in database.execute(sql)]
    return Goods(products, terms)


def _limit(database: sqlite3.Connection) -> None:
    """Tools may write what is read here: it gets its time, and no code of its own."""
    deadline = time.monotonic() + MOST_SECONDS
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute(f"PRAGMA busy_timeout = {int(WAIT_SECONDS * 1000)}")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)


def _has_tables(database: sqlite3.Connection, *names: str) -> bool:
    marks = ", ".join("?" * len(names))
    sql = f"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ({marks})"
    return bool(database.execute(sql, names).fetchone()[0] == len(names))
