"""The shop's database: users, orders and products as JSON documents in SQLite, recreated before each task."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from flightloop.receipts import create_table

FILE = "retail.db"
"""Name of the database in the folder of tool data."""
KINDS = ("users", "orders", "products")
SCHEMA = "CREATE TABLE documents (kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, id))"

Document = dict[str, Any]
State = dict[tuple[str, str], Document]
"""Documents by kind and id."""


def image(shop: Mapping[str, Mapping[str, Document]]) -> bytes:
    """A SQLite database file with the shop's documents, as bytes.

    Args:
        shop: documents by id, for each of `KINDS`.
    """
    rows = [(kind, name, json.dumps(document)) for kind in KINDS for name, document in shop[kind].items()]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(SCHEMA)
        create_table(database)
        database.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)
        database.commit()
        return bytes(database.serialize())


def renew(path: Path, shop: bytes) -> None:
    """Replaces the database by an `image` in one transaction: readers see either the old shop or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(":memory:")) as fresh, closing(sqlite3.connect(path, timeout=30)) as target:
        fresh.deserialize(shop)
        fresh.backup(target, sleep=0.01)


def state(path: Path) -> State:
    """All documents in a file."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        rows = database.execute("SELECT kind, id, body FROM documents").fetchall()
    return {(kind, name): json.loads(body) for kind, name, body in rows}
