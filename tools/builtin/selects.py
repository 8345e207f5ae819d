"""Read-only SELECTs over the project's database, as models write them.

Four protections: the parsed statement must be one SELECT over tables that the project names; the file is opened
read-only; SQLite's authorizer denies all other actions and tables; rows, value sizes and time are limited.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import sqlglot
from pydantic import Field
from sqlglot import exp

from flightloop.receipts import reading
from flightloop.tool import ToolContext, ToolRefused

MAX_ROWS = 50
MAX_SECONDS = 3.0
MAX_VALUE_BYTES = 100_000
STEPS_BETWEEN_CHECKS = 10_000
ALLOWED_ACTIONS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
FORBIDDEN_FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer")

Sql = Annotated[str, Field(min_length=6, max_length=2000)]


@dataclass(frozen=True)
class Selection:
    """Rows of a SELECT."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    more: bool
    """Whether there are rows beyond the limit."""


def select(context: ToolContext, sql: str, most: int = MAX_ROWS) -> Selection:
    """At most ``most`` rows of one SELECT. Raises ToolRefused if it is anything else, or takes too long."""
    tables = tables_of(context)
    named = check(sql, tables)
    assert context.project.database is not None
    with reading(context.data, context.project.database) as database:
        return _run(database, sql, tables, named, most)


def tables_of(context: ToolContext) -> tuple[str, ...]:
    """Tables that may be read. Raises ToolRefused if the project names none."""
    project = context.project
    if project.database is None or not project.tables:
        raise ToolRefused("There is no database to read: the project names none in project.yaml.")
    return project.tables


def check(sql: str, tables: Sequence[str]) -> set[str]:
    """Names that ``sql`` defines in WITH clauses. Raises ToolRefused unless it is one SELECT over the given tables."""
    try:
        statements = [statement for statement in sqlglot.parse(sql, dialect="sqlite") if statement is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise ToolRefused(f"The SQL can't be read: {str(error).splitlines()[0][:200]}") from None
    if len(statements) != 1:
        raise ToolRefused(f"Give exactly one statement, not {len(statements)}.")
    statement = statements[0]
    if not isinstance(statement, exp.Query) or statement.find(exp.DML, exp.DDL, exp.Command, exp.Into):
        raise ToolRefused("Only SELECT is allowed: the database can be read, not changed.")
    named = {cte.alias.lower() for cte in statement.find_all(exp.CTE)}
    asked = {table.name.lower() or table.sql().lower() for table in statement.find_all(exp.Table)}
    unknown = sorted(asked - named - _lower(tables))
    if unknown:
        raise ToolRefused(f"No table {', '.join(unknown)}. Tables: {', '.join(tables)}.")
    return named


def _run(database: sqlite3.Connection, sql: str, tables: Sequence[str], named: set[str], most: int) -> Selection:
    deadline = time.monotonic() + MAX_SECONDS
    existing = {row["name"].lower() for row in database.execute("SELECT name FROM sqlite_master")}
    # A recursive query reads itself by its name, so these names are allowed, unless a real table has the name.
    readable = _lower(tables) | {name for name in named - existing if not name.startswith(("sqlite_", "pragma_"))}
    database.execute("PRAGMA query_only = ON")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    database.set_authorizer(partial(_authorize, readable))
    database.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_CHECKS)
    try:
        cursor = database.execute(sql)
        rows = cursor.fetchmany(most + 1)
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            raise ToolRefused(f"The query took longer than {MAX_SECONDS:g} s. Select less data.") from None
        raise ToolRefused(f"The query failed: {error}.") from None
    columns = tuple(column[0] for column in cursor.description)
    return Selection(columns, [[_plain(value) for value in row] for row in rows[:most]], len(rows) > most)


def _authorize(readable: set[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_OK if str(first).lower() in readable else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in ALLOWED_ACTIONS else sqlite3.SQLITE_DENY


def _lower(names: Sequence[str]) -> set[str]:
    return {name.lower() for name in names}


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
