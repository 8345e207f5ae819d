"""Prepares and queries a task's SQLite databases in the tools' data.

SQL of a task file runs here with the rights of the evaluating user, on files that tools have written. So each statement
is limited to one database file and in time.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from agent.evals.task import Expectation, Task, TaskError

MOST_SECONDS = 10.0
"""Time limit per statement."""
MOST_BYTES = 16 * 1024**2
"""Maximum bytes of a value, and of all rows of a statement together."""
NUMBER_BYTES = 32
"""What a number counts for towards `MOST_BYTES`."""
MOST_ROWS = 10_000
MOST_FILES = 1_000
"""Maximum number of files in a data folder that is searched for its only database."""
HEADER = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite opens together with a database."""


def prepare(data: Path, task: Task) -> None:
    """Runs a task's setup in one transaction. Creates the task's database if it is named and missing.

    Args:
        data: folder of the tools' data.

    Raises:
        TaskError: the SQL is invalid, or the database is ambiguous.
    """
    if not task.setup:
        return
    with _opened(data, task, task.database, "rwc") as database:
        doing = ""
        try:
            database.execute("BEGIN IMMEDIATE")
            for statement in task.setup:
                doing = f" {statement!r}"
                _run(database, statement)
            doing = ""
            database.execute("COMMIT")
        except (sqlite3.Error, sqlite3.Warning) as error:  # closing it rolls back
            raise TaskError(f"task {task.id}: setup{doing}: {error}") from None


def rows_of(data: Path, task: Task, expectation: Expectation) -> list[list[Any]]:
    """Rows of a task's query, at most `MOST_ROWS`.

    Raises:
        TaskError: the SQL is invalid, or the database is ambiguous.
    """
    with _opened(data, task, expectation.database or task.database, "ro") as database:
        try:
            return _run(database, expectation.sql)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise TaskError(f"task {task.id}: expect {expectation.sql!r}: {error}") from None


@contextmanager
def _opened(data: Path, task: Task, name: str | None, mode: Literal["ro", "rwc"]) -> Iterator[sqlite3.Connection]:
    try:
        path = data / (name or _only(data))
        check_plain(data, path)
        if mode == "ro" and not path.exists():
            raise TaskError(f"the tools' data has no file {name}")
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        database = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    except (TaskError, sqlite3.Error) as error:
        raise TaskError(f"task {task.id}: {error}") from None
    with closing(database):
        database.execute("PRAGMA trusted_schema = OFF")
        database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # neither ATTACH nor VACUUM INTO
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        yield database


def _only(data: Path) -> str:
    """Name of the data folder's only database. Raises TaskError if there is none or more than one."""
    with os.scandir(data) as entries:
        seen = list(islice(entries, MOST_FILES + 1))
    if len(seen) > MOST_FILES:
        raise TaskError(f'the tools\' data has more than {MOST_FILES} files; name the database: "database": "FILE"')
    found = sorted(entry.name for entry in seen if _is_database(entry))
    if not found:
        raise TaskError('the tools\' data has no database; to create one, name it: "database": "FILE"')
    if len(found) > 1:
        shown = ", ".join(found[:5])
        raise TaskError(f'the tools\' data has several databases ({shown}); name one: "database": "FILE"')
    return found[0]


def _is_database(entry: os.DirEntry[str]) -> bool:
    if not entry.is_file(follow_symlinks=False):
        return False
    try:
        return _first_bytes(entry.path, len(HEADER)) == HEADER
    except OSError:
        return False


def _first_bytes(path: str | Path, count: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(count)


def check_plain(data: Path, path: Path) -> None:
    """Raises TaskError if a folder or file was replaced by something else, such as a link."""
    for folder in path.relative_to(data).parents:
        if os.path.lexists(data / folder) and not stat.S_ISDIR((data / folder).lstat().st_mode):
            raise TaskError(f"{folder} in the tools' data is not a regular folder")
    for end in ("", *BESIDE):
        file = path.with_name(path.name + end)
        if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
            raise TaskError(f"{file.relative_to(data)} in the tools' data is not a regular file")
    journal = path.with_name(f"{path.name}-journal")
    # SQLite would roll back and then delete a file named in the journal: https://sqlite.org/atomiccommit.html
    if journal.exists() and _first_bytes(journal, 1) not in (b"", b"\0"):
        raise TaskError(f"{path.name} in the tools' data has an unfinished transaction ({journal.name})")


def _run(database: sqlite3.Connection, statement: str) -> list[list[Any]]:
    """Executes a statement within a time limit, without settings and transactions. Returns its first rows."""
    deadline = time.monotonic() + MOST_SECONDS
    database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    database.set_authorizer(_allowed)
    try:
        return list(_bounded(islice(database.execute(statement), MOST_ROWS)))
    finally:
        database.set_authorizer(None)
        database.set_progress_handler(None, 0)


def _bounded(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """The rows. Raises sqlite3.DataError if they have more than ``MOST_BYTES``."""
    left = MOST_BYTES
    for row in rows:
        left -= sum(len(value) if isinstance(value, str | bytes) else NUMBER_BYTES for value in row)
        if left < 0:
            raise sqlite3.DataError(f"the rows have more than {MOST_BYTES} bytes")
        yield list(row)


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """SQLite authorizer that denies PRAGMA, ATTACH, DETACH, transactions and functions that load native code."""
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_TRANSACTION):
        return sqlite3.SQLITE_DENY
    code = action == sqlite3.SQLITE_FUNCTION and str(second).lower() in ("load_extension", "fts3_tokenizer")
    return sqlite3.SQLITE_DENY if code else sqlite3.SQLITE_OK
