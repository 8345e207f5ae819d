"""Task files: what a user says, and what counts as success.

One JSON object a line::

    {"id": "...", "agent": "support",
     "turns": [{"user": "..."}, {"user": {"default": "...", "if_asked": {"email": "..."}}}],
     "setup": ["SQL", ...], "expect": [{"sql": "SELECT ...", "rows": [[...], ...]}], "answer": ["regex", ...],
     "calls": [{"tool": "...", "arguments": {...}}], "never": [{"tool": "..."}], "ends": "succeeded",
     "recorded": [{"tool": "...", "arguments": {...}, "content": ...}, ...]}

``expect`` is the state of the tools' database in the end. A regex is searched for in all answers together, whatever the
case. ``calls`` have to be made, ``never`` none of these, with at least the arguments that are named. ``ends`` is the
last run's status. Each may be left out, not all. Of a task with ``recorded`` no tool is performed: results are those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import regex
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.runs import RunStatus
from tools.validation import is_large

Cell = str | int | float | None


class TaskError(ConfigError):
    """A task can't be used; the message names the file and the line, or the task, and the field."""


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


class Call(_Strict):
    """A call, made or wanted."""

    tool: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)

    def covers(self, made: Call) -> bool:
        """Whether a call that was made is the wanted one: arguments that this one does not name may be any."""
        wanted = self.arguments.items()
        return self.tool == made.tool and all(
            name in made.arguments and made.arguments[name] == value for name, value in wanted
        )

    def __str__(self) -> str:
        return f"{self.tool} {json.dumps(self.arguments, ensure_ascii=False)}" if self.arguments else self.tool


class RecordedCall(Call):
    """A call and what the model saw of its result. ``denied``: why a person did not allow it."""

    ok: bool = True
    content: Any = None
    error: str | None = None
    note: str | None = None
    denied: str | None = None


class Task(_Strict):
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    agent: str = Field(min_length=1)
    turns: list[Turn] = Field(min_length=1)
    setup: list[str] = Field(default_factory=list)
    expect: list[Expectation] = Field(default_factory=list)
    answer: list[str] = Field(default_factory=list)
    calls: list[Call] = Field(default_factory=list)
    never: list[Call] = Field(default_factory=list)
    ends: RunStatus | None = None
    recorded: list[RecordedCall] | None = None

    @field_validator("answer")
    @classmethod
    def _compiles(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if is_large(pattern):
                raise ValueError(f"{pattern[:50]!r}… is too large: use a shorter one, with fewer repetitions")
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("ends")
    @classmethod
    def _is_an_end(cls, status: RunStatus | None) -> RunStatus | None:
        if status is not None and not status.terminal:
            raise ValueError(f"a run does not end {status}")
        return status

    @model_validator(mode="after")
    def _can_be_judged(self) -> Task:
        if self.recorded is not None and (self.setup or self.expect):
            raise ValueError("no tool is performed where results are recorded: setup and expect tell nothing")
        if not (self.expect or self.answer or self.calls or self.never or self.ends):
            raise ValueError("says nothing of success: give expect, answer, calls, never or ends")
        return self


def load(path: Path) -> list[Task]:
    """The tasks of a file, in its order.

    Raises:
        TaskError: the file is missing or empty, a line is wrong, or two tasks share an id.
    """
    return [task for _, task in read([path])]


def read(paths: Iterable[Path]) -> list[tuple[str, Task]]:
    """The tasks of files, each with where it stands, ``file:line``.

    Raises:
        TaskError: a file is missing or empty, a line is wrong, or two tasks share an id.
    """
    found: list[tuple[str, Task]] = []
    taken: dict[str, tuple[Path, int]] = {}
    for path in paths:
        before = len(found)
        for number, line in _lines(path):
            task = _parse(f"{path}:{number}", line)
            if task.id in taken:
                file, other = taken[task.id]
                place = f"line {other}" if file == path else f"{file}:{other}"
                raise TaskError(f"{path}:{number}: id {task.id!r} is taken by {place}")
            taken[task.id] = path, number
            found.append((f"{path}:{number}", task))
        if len(found) == before:
            raise TaskError(f"{path}: holds no task")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = plain.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: can't be read: {error}") from None
    # Not splitlines: text in JSON may hold other line separators as they are.
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _parse(where: str, line: str) -> Task:
    try:
        return Task.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: no JSON: {error.msg} at column {error.colno}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise TaskError(f"{where}: {name}: {first['msg']}") from None
