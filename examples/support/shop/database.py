"""The shop's database: connections, writes that leave a receipt, and its settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any

from flightloop import ToolContext, receipts

FILE = "shop.db"
"""Name of the database in the tools' data folder. project.yaml contains it too."""


def reading(data: Path) -> AbstractContextManager[sqlite3.Connection]:
    """A read-only connection. Raises ToolRefused if the folder has no shop."""
    return receipts.reading(data, FILE)


def write_once(
    context: ToolContext, tool: str, arguments: dict[str, Any], effect: Callable[[sqlite3.Connection], dict[str, Any]]
) -> dict[str, Any]:
    """Applies ``effect`` once per call key (`flightloop.receipts`). Raises ToolRefused."""
    return receipts.write_once(context, tool, arguments, effect, FILE)


def receipt(data: Path, key: str) -> dict[str, Any] | None:
    """The result recorded under a call's key, or None if that call had no effect."""
    return receipts.receipt(data, key, FILE)


def setting(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return str(row["value"])


def today(database: sqlite3.Connection) -> date:
    return date.fromisoformat(setting(database, "today"))
