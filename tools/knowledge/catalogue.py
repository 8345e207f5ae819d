"""Reads the products and terms (names such as carriers) of a project's database."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from flightloop.receipts import reading
from flightloop.tool import ProjectData
from tools.sandbox.opening import without_links

log = logging.getLogger(__name__)
MOST_PRODUCTS, MOST_TERMS = 20_000, 200
MOST_SECONDS, WAIT_SECONDS = 2.0, 0.25
MOST_BYTES = 256 * 1024
"""Longest value or row that is read."""
MOST_PATTERN = 200
"""Longest pattern of LIKE and GLOB, whose time grows with it."""
MOST_BYTES_READ = 64 * 1024 * 1024
READERS_FROM, READERS_BYTES = 0x40000002, 510
"""The lock of SQLite's readers on a database: offset and length in bytes (SHARED_FIRST and SHARED_SIZE of its os.h)."""
_PRODUCTS = f"""
    SELECT id, CAST(substr(IFNULL(name, ''), 1, 100) AS TEXT) name,
        CAST(substr(IFNULL(category, ''), 1, 100) AS TEXT) category,
        CAST(IFNULL(price_cents, 0) AS INTEGER) price_cents, CAST(IFNULL(stock, 0) AS INTEGER) stock,
        CAST(IFNULL(warranty_months, 0) AS INTEGER) warranty_months, final_sale
    FROM (%s\n) WHERE typeof(id) = 'integer' ORDER BY id LIMIT {MOST_PRODUCTS}
"""
"""Query for products. Converts values, since SQLite's columns can contain any types."""
_TERMS = f"SELECT DISTINCT substr(name, 1, 200) FROM (%s\n) ORDER BY 1 LIMIT {MOST_TERMS}"
_COMPUTED = """
    SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_xinfo(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.rootpage > 0 AND columns.hidden = 2
"""
"""Query for generated columns that are computed when read: names of table and column."""
_UNFIT = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH)
"""Error codes of SQL that uses missing tables or columns, or that `_allowed` denies."""
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


@dataclass(frozen=True)
class Product:
    """A row of the project's SELECT for products."""

    id: int
    name: str
    category: str
    price_cents: int
    stock: int
    warranty_months: int
    final_sale: bool
    synonyms: tuple[str, ...] = ()  # other names, from the project's file


@dataclass(frozen=True)
class Catalogue:
    """Products and terms. ``terms``: names with their kinds (carrier, payment method)."""

    products: Sequence[Product] = ()
    terms: Sequence[tuple[str, str]] = ()

    @property
    def lasting(self) -> Catalogue:
        """The catalogue without what changes with each sale: prices and stocks are 0."""
        return Catalogue([replace(each, price_cents=0, stock=0) for each in self.products], self.terms)


def read_catalogue(data: Path, project: ProjectData) -> Catalogue:
    """Reads the database that the project names. Empty if it is missing or doesn't fit the project's SQL.

    Raises:
        sqlite3.Error: the database is locked, damaged, or too slow to read.
    """
    if project.database is None:
        return Catalogue()
    with TemporaryDirectory(prefix="flightloop-database-") as own:
        if not _copied(data, project.database, Path(own)):
            return Catalogue()
        with reading(Path(own), project.database) as database:
            try:
                _limit(database)
                return Catalogue(_products(database, project), _terms(database, project))
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) not in _UNFIT:
                    raise
                log.warning("the project's SQL for products and terms does not fit the database: %s", error)
                return Catalogue()


def _products(database: sqlite3.Connection, project: ProjectData) -> list[Product]:
    if project.products is None:
        return []
    rows = database.execute(_PRODUCTS % _inner(project.products))
    synonyms = dict(project.synonyms)
    return [
        Product(**{**dict(row), "final_sale": bool(row["final_sale"])}, synonyms=synonyms.get(row["name"], ()))
        for row in rows
    ]


def _terms(database: sqlite3.Connection, project: ProjectData) -> list[tuple[str, str]]:
    return [(kind, str(row[0])) for kind, sql in project.terms for row in database.execute(_TERMS % _inner(sql))]


def _inner(sql: str) -> str:
    return sql.strip().removesuffix(";")


def _copied(data: Path, name: str, own: Path) -> bool:
    """Copies the database to a folder that tools can't reach. Returns False if it doesn't exist.

    SQLite also opens the files next to a database: a pipe would block it forever, and a journal can name files to be
    deleted. The copy is made under the lock of SQLite's readers, so that no commit happens meanwhile.
    """
    try:
        folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        database = _opened(name, folder)
        if database is None:
            return False
        with open(database, "rb") as file:
            _lock(database)
            journal = _opened(f"{name}-journal", folder)
            if journal is not None:
                with open(journal, "rb") as unfinished:
                    if any(unfinished.read(8)):
                        raise sqlite3.OperationalError("the database has a journal of an unfinished write")
            _copy(file, own / name)
            newest = _opened(f"{name}-wal", folder)
            if newest is not None:
                with open(newest, "rb") as written:
                    _copy(written, own / f"{name}-wal")
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


def _lock(database: int) -> None:
    """Takes the readers' lock until the file is closed. Raises sqlite3.OperationalError if a commit is in progress."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.lockf(database, fcntl.LOCK_SH | fcntl.LOCK_NB, READERS_BYTES, READERS_FROM)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("the database is locked") from None
        time.sleep(0.01)


def _copy(source: BinaryIO, target: Path) -> None:
    if os.fstat(source.fileno()).st_size > MOST_BYTES_READ:
        raise sqlite3.OperationalError(f"the database has more than {MOST_BYTES_READ} bytes")
    with target.open("wb") as written:
        shutil.copyfileobj(source, written, 1024 * 1024)


def _limit(database: sqlite3.Connection) -> None:
    """Limits the time of queries, and disables code in the database, since tools may have written it."""
    end = time.thread_time() + MOST_SECONDS  # of the processor: on a busy machine, an honest query may take longer
    database.execute("PRAGMA trusted_schema = OFF")
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    database.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MOST_PATTERN)
    database.text_factory = lambda text: text.decode("utf-8", "replace")
    database.set_progress_handler(lambda: time.thread_time() > end, 100)
    views = frozenset(row[0].lower() for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'view'"))
    computed = frozenset((table.lower(), column.lower()) for table, column in database.execute(_COMPUTED))
    database.set_authorizer(partial(_allowed, views, computed))


def _allowed(views: Set[str], computed: Set[tuple[str, str]], action: int, *about: str | None) -> int:
    """Permits a project's SQL to read only stored values: tools may have written views and generated columns.

    Expressions in these can call functions that run for seconds in one step, which the time limit doesn't interrupt.
    """
    known = [(name or "").lower() for name in about]
    if action == sqlite3.SQLITE_READ:
        wanted = not views & set(known) and tuple(known[:2]) not in computed
    else:
        wanted = "load_extension" not in known
    return sqlite3.SQLITE_OK if action in _ALLOWED and wanted else sqlite3.SQLITE_DENY
