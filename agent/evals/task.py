"""Task files: what a user says, and what counts as success.

One JSON object a line::

    {"id": "...", "agent": "support", "database": "shop.db",
     "turns": [{"user": "..."}, {"user": {"default": "...", "if_asked": {"email": "..."}}}],
     "setup": ["SQL", ...], "approve": true,
     "expect": [{"sql": "SELECT ...", "rows": [[...], ...], "database": "other.db"}],
     "answer": ["regex", ...], "says": ["regex", ...], "says_not": ["regex", ...],
     "called": [{"tool": "...", "arguments": {...}}], "not_called": [{"tool": "..."}], "asked": [{"tool": "..."}],
     "ends": "succeeded",
     "recorded": [{"tool": "...", "arguments": {...}, "content": ...}, ...]}

docs/agents.md explains the fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import regex
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.nearest import did_you_mean
from flightloop.runs import RunStatus
from tools.validation import is_large

Cell = str | int | float | None


class TaskError(ConfigError):
    """A task can't be used; the message names the file and the line, or the task, and the field."""


def _lies_inside(name: str) -> str:
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"must be a file's path within the tools' data, such as notes.db (got {name!r})")
    return name


DatabaseName = Annotated[str, AfterValidator(_lies_inside)]


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
    """A query and the rows that it has to give. ``database``: None for the task's."""

    sql: str = Field(min_length=1)
    rows: list[list[Cell]]
    database: DatabaseName | None = None


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


EXPECTATIONS = ("expect", "answer", "says", "says_not", "called", "not_called", "asked", "ends")
"""Fields of a task that say what counts as success."""


class Task(_Strict):
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    agent: str = Field(min_length=1)
    turns: list[Turn] = Field(min_length=1)
    database: DatabaseName | None = None
    """That ``setup`` and ``expect`` are about, in the tools' data. None: the only one that is there."""
    setup: list[str] = Field(default_factory=list)
    """SQL, before the first turn."""
    approve: bool = True
    """What the person decides about each call that a policy puts to one."""
    expect: list[Expectation] = Field(default_factory=list)
    """Of the databases, after the last turn."""
    answer: list[str] = Field(default_factory=list)
    """Regular expressions, whatever the case; each has to be found in one of the answers."""
    says: list[str] = Field(default_factory=list)
    """Each has to be found in the last answer."""
    says_not: list[str] = Field(default_factory=list)
    """None may be found in any answer."""
    called: list[Call] = Field(default_factory=list)
    """Each has to be made, with at least the arguments that are named."""
    not_called: list[Call] = Field(default_factory=list)
    """None may be made."""
    asked: list[Call] = Field(default_factory=list)
    """Each has to be put to a person."""
    ends: RunStatus | None = None
    """The last run's status."""
    recorded: list[RecordedCall] | None = None
    """No tool is performed: calls get these results."""

    @field_validator("answer", "says", "says_not")
    @classmethod
    def _compiles(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if is_large(pattern):
                raise ValueError(f"{pattern[:50]!r}… is too large: use a shorter one, with fewer repetitions")
            try:
                regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
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
            raise ValueError("setup and expect can't be used with recorded results: no tool is performed")
        if not any(getattr(self, name) for name in EXPECTATIONS):
            raise ValueError(f"expects nothing: give one of {', '.join(EXPECTATIONS)}")
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
        document = json.loads(line)
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise TaskError(f"{where}: not a task: its JSON is nested too deeply") from None
    if not isinstance(document, dict):
        raise TaskError(f"{where}: a task is a JSON object with id, agent, turns …")
    try:
        return Task.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise TaskError(f"{where}: {name}: {_told(first)}") from None


def _told(problem: ErrorDetails) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"].removeprefix("Value error, ")
    known = Task.model_fields if len(problem["loc"]) == 1 else {}
    return "; ".join(filter(None, ("no such field", did_you_mean(str(problem["loc"][-1]), known, most=1))))
