"""Task files: what a user says, and the state of the shop that counts as success.

One JSON object a line::

    {"id": "...", "agent": "support",
     "turns": [{"user": "..."}, {"user": {"default": "...", "if_asked": {"email": "..."}}}],
     "setup": ["SQL", ...], "expect": [{"sql": "SELECT ...", "rows": [[...], ...]}], "answer": ["regex", ...]}

``setup`` and ``answer`` may be left out. A regex is searched for in all answers together, whatever the case.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Cell = str | int | float | None


class TaskError(Exception):
    """A task file can't be used; the message names the file, the line and the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Branch(_Strict):
    """What the user says next, by what the agent asked for: a word of its question, such as ``email``."""

    default: str = Field(min_length=1)
    if_asked: dict[str, str] = Field(default_factory=dict)


class Turn(_Strict):
    user: Annotated[str, Field(min_length=1)] | Branch

    def text(self, last_answer: str = "") -> str:
        """The user's words, given the agent's answer before them."""
        if isinstance(self.user, str):
            return self.user
        for word, text in self.user.if_asked.items():
            if re.search(rf"\b{re.escape(word)}\b", last_answer, re.IGNORECASE):
                return text
        return self.user.default


class Expectation(_Strict):
    sql: str = Field(min_length=1)
    rows: list[list[Cell]]


class Task(_Strict):
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    agent: str = Field(min_length=1)
    turns: list[Turn] = Field(min_length=1)
    setup: list[str] = Field(default_factory=list)
    expect: list[Expectation] = Field(min_length=1)
    answer: list[str] = Field(default_factory=list)

    @field_validator("answer")
    @classmethod
    def _compiles(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns


@dataclass(frozen=True)
class Judgement:
    """Whether a task was solved; ``problems`` says in sentences what is missing."""

    solved: bool
    state_right: bool
    answer_right: bool
    problems: tuple[str, ...] = field(default=())


def load(path: Path) -> list[Task]:
    """The tasks of a file, in its order.

    Raises:
        TaskError: the file is missing or empty, a line is wrong, or two tasks share an id.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: can't be read: {error}") from None
    tasks: list[Task] = []
    lines_by_id: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        task = _parse(f"{path}:{number}", line)
        if task.id in lines_by_id:
            raise TaskError(f"{path}:{number}: id {task.id!r} is taken by line {lines_by_id[task.id]}")
        lines_by_id[task.id] = number
        tasks.append(task)
    if not tasks:
        raise TaskError(f"{path}: holds no task")
    return tasks


def prepare(database: Path, task: Task) -> None:
    """Runs a task's setup on the shop, all of it or nothing. Raises TaskError if its SQL is wrong."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as shop:
        shop.execute("BEGIN IMMEDIATE")
        for statement in task.setup:
            try:
                shop.execute(statement)
            except (sqlite3.Error, sqlite3.Warning) as error:
                shop.execute("ROLLBACK")
                raise TaskError(f"task {task.id}: setup {statement!r}: {error}") from None
        shop.execute("COMMIT")


def judge(database: Path, answers: Sequence[str], task: Task) -> Judgement:
    """Compares the shop and the agent's answers with what the task expects. Raises TaskError if its SQL is wrong."""
    state: list[str] = []
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as shop:
        for expectation in task.expect:
            try:
                rows = [list(row) for row in shop.execute(expectation.sql)]
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise TaskError(f"task {task.id}: expect {expectation.sql!r}: {error}") from None
            if not _same(rows, expectation.rows):
                state.append(f"{expectation.sql}: expected {_shown(expectation.rows)}, found {_shown(rows)}")
    said = "\n".join(answers)
    missing = [pattern for pattern in task.answer if not re.search(pattern, said, re.IGNORECASE)]
    unsaid = [f"no answer matches {pattern!r}" for pattern in missing]
    return Judgement(not state and not unsaid, not state, not unsaid, (*state, *unsaid))


def _parse(where: str, line: str) -> Task:
    try:
        return Task.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: no JSON: {error.msg} at column {error.colno}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise TaskError(f"{where}: {name}: {first['msg']}") from None


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
