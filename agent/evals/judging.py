"""Whether a task was solved: by the tools' database, the answers, the calls, and how the last run ended."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.evals.task import Call, Cell, Task, TaskError
from flightloop.runs import Run


@dataclass(frozen=True)
class Judgement:
    """``problems`` says in sentences what is missing. ``answer_right``: all that is no state."""

    solved: bool
    state_right: bool
    answer_right: bool
    problems: tuple[str, ...] = field(default=())


def prepare(database: Path, task: Task) -> None:
    """Runs a task's setup, all of it or nothing. Raises TaskError if its SQL is wrong."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as shop:
        shop.execute("BEGIN IMMEDIATE")
        for statement in task.setup:
            try:
                shop.execute(statement)
            except (sqlite3.Error, sqlite3.Warning) as error:
                shop.execute("ROLLBACK")
                raise TaskError(f"task {task.id}: setup {statement!r}: {error}") from None
        shop.execute("COMMIT")


def judge(
    database: Path, answers: Sequence[str], task: Task, calls: Sequence[Call] = (), last: Run | None = None
) -> Judgement:
    """Compares where a conversation ended with what its task expects.

    Args:
        calls: that were made, in order.
        last: the run of the last turn.

    Raises:
        TaskError: the task's SQL is wrong.
    """
    state = _state(database, task) if task.expect else []
    said = [*_unsaid(answers, task), *_called(calls, task), *_ended(last, task)]
    return Judgement(not state and not said, not state, not said, (*state, *said))


def _state(database: Path, task: Task) -> list[str]:
    problems: list[str] = []
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as shop:
        for expectation in task.expect:
            try:
                rows = [list(row) for row in shop.execute(expectation.sql)]
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise TaskError(f"task {task.id}: expect {expectation.sql!r}: {error}") from None
            if not _same(rows, expectation.rows):
                problems.append(f"{expectation.sql}: expected {_shown(expectation.rows)}, found {_shown(rows)}")
    return problems


def _unsaid(answers: Sequence[str], task: Task) -> list[str]:
    said = "\n".join(answers)
    return [f"no answer matches {pattern!r}" for pattern in task.answer if not re.search(pattern, said, re.IGNORECASE)]


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
