"""Receipts of writes: a database without their table gets it with the first write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flightloop import ToolContext, ToolRefused
from flightloop.receipts import create_table, receipt, write_once

FILE = "library.db"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("CREATE TABLE loans (book INTEGER)")
    return tmp_path


def lend(data: Path, key: str, book: int) -> dict[str, Any]:
    def effect(database: sqlite3.Connection) -> dict[str, Any]:
        database.execute("INSERT INTO loans VALUES (?)", (book,))
        if book < 0:
            raise ToolRefused("There is no such book.")
        return {"book": book}

    context = ToolContext(key, "default", "desk", "session", "run", data)
    return write_once(context, "lend", {"book": book}, effect, FILE)


def count(data: Path, what: str) -> int:
    with closing(sqlite3.connect(data / FILE)) as database:
        [(found,)] = database.execute(f"SELECT count(*) FROM {what}")
    return int(found)


def test_the_first_write_creates_the_table(data: Path) -> None:
    assert receipt(data, "a", FILE) is None
    assert lend(data, "a", 1) == lend(data, "a", 1) == receipt(data, "a", FILE) == {"book": 1}
    assert count(data, "loans") == 1
    assert receipt(data, "b", FILE) is None


def test_a_refused_first_write_leaves_nothing(data: Path) -> None:
    with pytest.raises(ToolRefused):
        lend(data, "a", -1)
    assert count(data, "loans") == count(data, "sqlite_master WHERE name = 'receipts'") == 0
    assert receipt(data, "a", FILE) is None
    assert lend(data, "a", 2) == {"book": 2}


def test_a_table_that_exists_is_kept(data: Path) -> None:
    lend(data, "a", 1)
    with closing(sqlite3.connect(data / FILE)) as database, database:
        create_table(database)
    assert receipt(data, "a", FILE) == {"book": 1}
