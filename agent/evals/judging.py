"""Whether a task was solved: by the tools' database, the answers, the calls, and how the last run ended."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import regex

from agent.evals.task import Call, Cell, Task, TaskError
from flightloop.runs import Run

MOST_SECONDS = 10.0
"""Of one statement of a task, and of all its regular expressions together."""
MOST_BYTES = 16 * 1024**2
"""Of one value."""
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Judgement:
    """``problems`` says in sentences what is missing. ``answer_right``: all that is no state."""

    solved: bool
    state_right: bool
    answer_right: bool
    problems: tuple[str, ...] = field(default=())


def prepare(database: Path, task: Task) -> None:
    """Runs a task's setup, all of it or nothing. Raises TaskError if its SQL is wrong."""
    with closing(_opened(database, task, "rwc")) as shop:
        shop.execute("BEGIN IMMEDIATE")
        for statement in task.setup:
            try:
                _asked(shop, statement)
            except (sqlite3.Error, sqlite3.Warning) as error:
                shop.execute("ROLLBACK")
                raise TaskError(f"task {task.id}: setup {statement!r}: {error}") from None
        shop.execute("COMMIT")


def _opened(database: Path, task: Task, mode: Literal["ro", "rwc"]) -> sqlite3.Connection:
    """A task's database, and no other file: what a task file says is run here, by whoever evaluates it.

    Raises:
        TaskError: a tool has put something else in its place.
    """
    for end in ("", "-wal", "-shm", "-journal"):
        file = database.with_name(database.name + end)
        if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
            raise TaskError(f"task {task.id}: {file.name} in the tools' data is no plain file")
    shop = sqlite3.connect(f"{database.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None)
    shop.execute("PRAGMA trusted_schema = OFF")
    shop.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # neither ATTACH nor VACUUM INTO
    shop.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    return shop


def _asked(shop: sqlite3.Connection, statement: str) -> list[list[Any]]:
    """The first rows of what a task asks, which gets its time and changes nothing but rows and tables."""
    deadline = time.monotonic() + MOST_SECONDS
    shop.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    shop.set_authorizer(_allowed)
    try:
        return [list(row) for row in shop.execute(statement).fetchmany(MOST_ROWS)]
    finally:
        shop.set_authorizer(None)
        shop.set_progress_handler(None, 0)


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """How the database works, and which files it reads, is no task's to say."""
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_TRANSACTION):
        return sqlite3.SQLITE_DENY
    code = action == sqlite3.SQLITE_FUNCTION and str(second).lower() in ("load_extension", "fts3_tokenizer")
    return sqlite3.SQLITE_DENY if code else sqlite3.SQLITE_OK


def judge(
    database: Path, answers: Sequence[str], task: Task, calls: Sequence[Call] = (), last: Run | None = None
) -> Judgement:
    """Compares where a conversation ended with what its task expects.

    Args:
        calls: that were made, in order.
        last: the run of the last turn.

    Raises:
        TaskError: the task's SQL is wrong, or its regular expressions take too long.
    """
    state = _state(database, task) if task.expect else []
    said = [*_unsaid(answers, task), *_called(calls, task), *_ended(last, task)]
    return Judgement(not state and not said, not state, not said, (*state, *said))


def _state(database: Path, task: Task) -> list[str]:
    problems: list[str] = []
    with closing(_opened(database, task, "ro")) as shop:
        for expectation in task.expect:
            try:
                rows = _asked(shop, expectation.sql)
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise TaskError(f"task {task.id}: expect {expectation.sql!r}: {error}") from None
            if not _same(rows, expectation.rows):
                problems.append(f"{expectation.sql}: expected {_shown(expectation.rows)}, found {_shown(rows)}")
    return problems


def _unsaid(answers: Sequence[str], task: Task) -> list[str]:
    said, deadline = "\n".join(answers), time.monotonic() + MOST_SECONDS
    problems: list[str] = []
    for pattern in task.answer:
        try:
            left = max(deadline - time.monotonic(), 0.001)
            found = regex.search(pattern, said, regex.IGNORECASE, timeout=left)
        except TimeoutError:
            raise TaskError(f"task {task.id}: answer {pattern!r}: it takes longer than {MOST_SECONDS:g} s") from None
        if not found:
            problems.append(f"no answer matches {pattern!r}")
    return problems


def _called(calls: Sequence[Call], task: Task) -> list[str]:
    missing = [f"not called: {wanted}" for wanted in task.calls if not any(map(wanted.covers, calls))]
    return [*missing, *(f"called: {barred}" for barred in task.never if any(map(barred.covers, calls)))]


def _ended(last: Run | None, task: Task) -> list[str]:
    if last is None or task.ends is None or last.status is task.ends:
        return []
    return [f"the run was to end {task.ends}; {ending(last)}"]


def ending(run: Run) -> str:
    """How a run ended, in words."""
    told = f": {run.error.message}" if run.error else ""
    return f"it ended {run.status} ({run.stop_reason}){told}"


def _same(found: list[list[Any]], expected: list[list[Cell]]) -> bool:
    """Equal rows in equal order; numbers may differ in the ninth digit."""
    return len(found) == len(expected) and all(
        len(left) == len(right) and all(map(_same_cell, left, right))
        for left, right in zip(found, expected, strict=True)
    )


def _same_cell(left: Any, right: Cell) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))
    return type(left) is type(right) and bool(left == right)


def _shown(rows: Sequence[Sequence[Any]]) -> str:
    text = json.dumps([list(row) for row in rows[:5]], default=str)
    return text if len(rows) <= 5 else f"{text} and {len(rows) - 5} more"
