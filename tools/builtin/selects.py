"""Read-only SELECTs over the project's database, as models write them.

Four protections: the parsed statement must be one SELECT over tables that the project names; the file is opened
read-only; SQLite's authorizer denies all other actions and tables; rows, value sizes and time are limited.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, islice
from typing import Annotated, Any

from pydantic import Field

from flightloop.receipts import reading
from flightloop.tool import ToolContext, ToolRefused

MAX_ROWS = 50
MAX_SECONDS = 3.0
MAX_VALUE_BYTES = 100_000
MAX_RESULT_BYTES = 2_000_000
"""Bytes of all rows together."""
NUMBER_BYTES = 32
"""Bytes that a number counts as."""
STEPS_BETWEEN_CHECKS = 200
"""Instructions of SQLite between two looks at the clock. One may take 10 ms, such as instr() of two long texts."""
MAX_DEPTH = 12
"""Nested brackets. The parser's time doubles with each level of some functions, such as DATE(DATE(…))."""
ALLOWED_ACTIONS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
FORBIDDEN_FUNCTIONS = ("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer")

Sql = Annotated[str, Field(min_length=6, max_length=2000)]


class ValueTooLong(ToolRefused):
    """A value has more than ``MAX_VALUE_BYTES``."""


@dataclass(frozen=True)
class Selection:
    """Rows of a SELECT."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    more: bool
    """Whether there are rows beyond the limit."""


def select(context: ToolContext, sql: str, most: int = MAX_ROWS) -> Selection:
    """At most ``most`` rows of one SELECT. Numbers that JSON lacks become None, and bytes hexadecimal digits.

    Raises:
        ToolRefused: it is anything else, reads other tables, takes too long, or its rows are too large.
    """
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
    import sqlglot  # at the first query: a host starts sooner without
    from sqlglot import exp

    try:
        tokens = sqlglot.tokenize(sql, dialect="sqlite")
        if _depth(token.token_type.name for token in tokens) > MAX_DEPTH:
            raise ToolRefused(f"The SQL nests brackets more than {MAX_DEPTH} deep. Use WITH clauses.")
        statements = [statement for statement in sqlglot.parse(sql, dialect="sqlite") if statement is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise ToolRefused(f"The SQL can't be read: {str(error).splitlines()[0][:200]}") from None
    if len(statements) != 1:
        raise ToolRefused(f"Give exactly one statement, not {len(statements)}.")
    statement = statements[0]
    if not isinstance(statement, exp.Query) or statement.find(exp.DML, exp.DDL, exp.Command, exp.Into):
        raise ToolRefused("Only SELECT is allowed: the database can be read, not changed.")
    named = _lower(cte.alias for cte in statement.find_all(exp.CTE))
    asked = _lower(table.name or table.sql() for table in statement.find_all(exp.Table))
    unknown = sorted(asked - named - _lower(tables))
    if unknown:
        raise ToolRefused(f"No table {', '.join(unknown)}. Tables: {', '.join(tables)}.")
    return named


def _run(database: sqlite3.Connection, sql: str, tables: Sequence[str], named: set[str], most: int) -> Selection:
    deadline = time.monotonic() + MAX_SECONDS
    existing = _lower(row["name"] for row in database.execute("SELECT name FROM sqlite_master"))
    # A recursive query reads itself by its name, so these names are allowed, unless a real table has the name.
    readable = _lower(tables) | {name for name in named - existing if not name.startswith(("sqlite_", "pragma_"))}
    database.execute("PRAGMA query_only = ON")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    database.set_authorizer(partial(_authorize, readable))
    database.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_CHECKS)
    database.text_factory = _text
    try:
        cursor = database.execute(sql)
        rows = list(_bounded(islice(cursor, most + 1)))
    except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
        raise _refusal(error, tables) from None
    columns = tuple(column[0] for column in cursor.description)
    return Selection(columns, [[_plain(value) for value in row] for row in rows[:most]], len(rows) > most)


def _bounded(rows: Iterable[sqlite3.Row]) -> Iterator[sqlite3.Row]:
    """The rows. Raises ToolRefused as soon as they have more than ``MAX_RESULT_BYTES``."""
    left = MAX_RESULT_BYTES
    for row in rows:
        left -= sum(len(value) if isinstance(value, str | bytes) else NUMBER_BYTES for value in row)
        if left < 0:
            raise ToolRefused(f"The rows have more than {MAX_RESULT_BYTES:,} bytes. Select fewer columns or rows.")
        yield row


def _refusal(error: Exception, tables: Sequence[str]) -> ToolRefused:
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_INTERRUPT:
            return ToolRefused(f"The query took longer than {MAX_SECONDS:g} s. Select less data.")
        case sqlite3.SQLITE_TOOBIG:
            return ValueTooLong(f"A value has more than {MAX_VALUE_BYTES:,} bytes. Leave its column out.")
        case sqlite3.SQLITE_AUTH:
            return ToolRefused(f"Only these tables may be read, and views over them: {', '.join(tables)}.")
        case _:
            return ToolRefused(f"The query failed: {error}.")


def _depth(tokens: Iterable[str]) -> int:
    """The deepest nesting of brackets, among names of tokens."""
    steps = {"L_PAREN": 1, "R_PAREN": -1}
    return max(accumulate((steps.get(token, 0) for token in tokens), initial=0))


def _authorize(readable: set[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_OK if _folded(str(first)) in readable else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in ALLOWED_ACTIONS else sqlite3.SQLITE_DENY


def _lower(names: Iterable[str]) -> set[str]:
    return {_folded(name) for name in names}


def _folded(name: str) -> str:
    """A name in lower case as SQLite compares it: letters beyond ASCII differ by case."""
    return name.encode("utf-8", "replace").lower().decode()


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.hex() if isinstance(value, bytes) else value
