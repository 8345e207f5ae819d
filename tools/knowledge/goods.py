"""What the shop's database has for everybody to know: goods, and what orders are paid and brought with."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from tools.sandbox.opening import without_links
from tools.shop.database import FILE, reading

MOST_PRODUCTS, MOST_TERMS = 20_000, 200
MOST_SECONDS, WAIT_SECONDS = 2.0, 0.25
MOST_BYTES = 1024 * 1024
"""Of a value."""
MOST_BYTES_READ = 64 * 1024 * 1024
READERS_FROM, READERS_BYTES = 0x40000002, 510
"""Where SQLite's readers lock a database (SHARED_FIRST and SHARED_SIZE of its os.h)."""
_PRODUCTS = f"""
    SELECT id, CAST(substr(IFNULL(name, ''), 1, 100) AS TEXT) name,
        CAST(substr(IFNULL(category, ''), 1, 100) AS TEXT) category,
        CAST(IFNULL(price_cents, 0) AS INTEGER) price_cents, CAST(IFNULL(stock, 0) AS INTEGER) stock,
        CAST(IFNULL(warranty_months, 0) AS INTEGER) warranty_months, final_sale
    FROM products WHERE typeof(id) = 'integer' ORDER BY id LIMIT {MOST_PRODUCTS}
"""
"""Of whatever types the values are: a table of SQLite holds any."""
_TERMS = (
    ("payment method", f"SELECT DISTINCT substr(payment, 1, 200) FROM orders ORDER BY 1 LIMIT {MOST_TERMS}"),
    ("carrier", f"SELECT DISTINCT substr(carrier, 1, 200) FROM deliveries ORDER BY 1 LIMIT {MOST_TERMS}"),
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
    with TemporaryDirectory(prefix="flightloop-shop-") as own:
        if not _copied(data, Path(own)):
            return Goods()
        with reading(Path(own)) as database:
            _limit(database)
            if not _has_tables(database, "products", "orders", "deliveries"):
                return Goods()
            rows = database.execute(_PRODUCTS)
            products = [Product(**{**dict(row), "final_sale": bool(row["final_sale"])}) for row in rows]
            terms = [(kind, str(row[0])) for kind, sql in _TERMS for row in database.execute(sql)]
    return Goods(products, terms)


def _copied(data: Path, own: Path) -> bool:
    """Copies the shop to where tools can't reach it; False where there is none.

    SQLite opens what lies beside a database by itself, whatever it is: a pipe would keep it waiting for ever, a journal
    can name files to be deleted. While the copy is made, the lock of SQLite's readers is held, so that nobody commits.
    """
    try:
        folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        shop = _opened(FILE, folder)
        if shop is None:
            return False
        with open(shop, "rb") as file:
            _lock(shop)
            journal = _opened(f"{FILE}-journal", folder)
            if journal is not None:
                with open(journal, "rb") as unfinished:
                    if any(unfinished.read(8)):
                        raise sqlite3.OperationalError("a write has not been finished")
            _copy(file, own / FILE)
            log = _opened(f"{FILE}-wal", folder)
            if log is not None:
                with open(log, "rb") as newest:
                    _copy(newest, own / f"{FILE}-wal")
    finally:
        os.close(folder)
    return True


def _opened(name: str, folder: int) -> int | None:
    try:
        opened = without_links(name, os.O_RDONLY | os.O_NONBLOCK, folder)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    return None


def _lock(shop: int) -> None:
    """Raises sqlite3.OperationalError: somebody is committing. Ends when the file is closed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.lockf(shop, fcntl.LOCK_SH | fcntl.LOCK_NB, READERS_BYTES, READERS_FROM)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("the shop is locked") from None
        time.sleep(0.01)


def _copy(source: BinaryIO, target: Path) -> None:
    if os.fstat(source.fileno()).st_size > MOST_BYTES_READ:
        raise sqlite3.OperationalError(f"the shop has more than {MOST_BYTES_READ} bytes")
    with target.open("wb") as written:
        shutil.copyfileobj(source, written, 1024 * 1024)


def _limit(database: sqlite3.Connection) -> None:
    """Tools may write what is read here: it gets its time, and no code of its own."""
    deadline = time.monotonic() + MOST_SECONDS
    database.execute("PRAGMA trusted_schema = OFF")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)


def _has_tables(database: sqlite3.Connection, *names: str) -> bool:
    marks = ", ".join("?" * len(names))
    sql = f"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ({marks})"
    return bool(database.execute(sql, names).fetchone()[0] == len(names))
