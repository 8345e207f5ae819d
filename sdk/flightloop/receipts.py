"""SQLite databases of tools: read-only access, and transactional writes that record a receipt."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flightloop.tool import ToolContext, ToolRefused

BUSY_SECONDS = 10.0
_TABLE = """CREATE TABLE IF NOT EXISTS receipts (
  key TEXT PRIMARY KEY, tool TEXT NOT NULL, arguments_sha256 TEXT NOT NULL,
  result TEXT NOT NULL, created_at TEXT NOT NULL
)"""


@contextmanager
def reading(data: Path, file: str) -> Iterator[sqlite3.Connection]:
    """Opens a read-only connection, closed at the end of the block. Rows are `sqlite3.Row`.

    Args:
        data: the folder of the tools' data (``context.data``).
        file: name of the database file in that folder.

    Raises:
        ToolRefused: the database doesn't exist.
    """
    with closing(_connect(data / file, "ro")) as database:
        yield database


def write_once(
    context: ToolContext,
    tool: str,
    arguments: dict[str, Any],
    effect: Callable[[sqlite3.Connection], dict[str, Any]],
    file: str,
) -> dict[str, Any]:
    """Calls ``effect`` and records its result under the call's key, in one transaction.

    A repeated key returns the recorded result without calling ``effect``, so a call lost in a crash can be repeated.
    Made for tools with the effect ``transactional``. Receipts are in the database's table ``receipts``, which the first
    write creates.

    Raises:
        ToolRefused: raised by ``effect``, and rolled back; or the key was used for another call.
    """
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    with closing(_connect(context.data / file, "rw")) as database:
        database.execute("BEGIN IMMEDIATE")  # the check and the effect see the same state
        try:
            create_table(database)
            earlier = database.execute("SELECT * FROM receipts WHERE key = ?", (context.key,)).fetchone()
            if earlier is not None:
                return _earlier_result(earlier, tool, digest)
            result = effect(database)
            row = (context.key, tool, digest, json.dumps(result), datetime.now(UTC).isoformat())
            database.execute("INSERT INTO receipts VALUES (?, ?, ?, ?, ?)", row)
            database.execute("COMMIT")
            return result
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")


def create_table(database: sqlite3.Connection) -> None:
    """Creates the table ``receipts`` if there is none, as the first write does.

    Call it in ``seed.py`` if a task counts receipts: where nothing was written, the query would fail.
    """
    database.execute(_TABLE)


def receipt(data: Path, key: str, file: str) -> dict[str, Any] | None:
    """The result recorded under a call's key, or None if that call had no effect."""
    with reading(data, file) as database:
        exists = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'receipts'").fetchone()
        row = database.execute("SELECT result FROM receipts WHERE key = ?", (key,)).fetchone() if exists else None
    return dict(json.loads(row["result"])) if row else None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    path = path.resolve()
    if not path.is_file():
        raise ToolRefused(f"There is no {path.stem} database at {path}.")
    database = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA foreign_keys = ON")
    return database


def _earlier_result(row: sqlite3.Row, tool: str, digest: str) -> dict[str, Any]:
    if (row["tool"], row["arguments_sha256"]) != (tool, digest):
        raise ToolRefused("This call's key was used for another call.")
    return dict(json.loads(row["result"]))
