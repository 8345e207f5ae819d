"""What the shop's database has for everybody to know: goods, and what orders are paid and brought with."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.shop.database import FILE, reading

_TERMS = (
    ("payment method", "SELECT DISTINCT payment FROM orders ORDER BY 1"),
    ("carrier", "SELECT DISTINCT carrier FROM deliveries ORDER BY 1"),
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
        sqlite3.OperationalError: the database is locked.
    """
    if not (data / FILE).is_file():
        return Goods()
    with reading(data) as database:
        if not _has_tables(database, "products", "orders", "deliveries"):
            return Goods()
        rows = database.execute(
            "SELECT id, name, category, price_cents, stock, warranty_months, final_sale FROM products ORDER BY id"
        )
        products = [Product(**{**dict(row), "final_sale": bool(row["final_sale"])}) for row in rows]
        terms = [(kind, str(row[0])) for kind, sql in _TERMS for row in database.execute(sql)]
    return Goods(products, terms)


def _has_tables(database: sqlite3.Connection, *names: str) -> bool:
    marks = ", ".join("?" * len(names))
    sql = f"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ({marks})"
    return bool(database.execute(sql, names).fetchone()[0] == len(names))
