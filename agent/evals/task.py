"""Task files: a user's messages, and the criteria of success.

One JSON object per line::

    {"id": "...", "agent": "notes", "database": "notes.db",
     "turns": [{"user": "...", "table": "sales.csv", "image": "sales.png"},
               {"user": {"default": "...", "if_asked": {"email": "..."}}, "not_called": [{"tool": "..."}]}],
     "setup": ["SQL", ...], "approve": true, "subject": "17",
     "expect": [{"sql": "SELECT ...", "rows": [[...], ...], "database": "other.db"}],
     "answer": ["regex", ...], "says": ["regex", ...], "says_not": ["regex", ...],
     "called": [{"tool": "...", "arguments": {...}}], "not_called": [{"tool": "..."}], "asked": [{"tool": "..."}],
     "ends": "succeeded",
     "recorded": [{"tool": "...", "arguments": {...}, "content": ...}, ...]}

The fields are explained in docs/agents.md.
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
from flightloop.runs import Run, RunStatus, StopReason
from flightloop.subject import GivenSubject
from tools.validation import is_large

Cell = str | int | float | None


class TaskError(ConfigError):
    """An unusable task; the message names the file and line, or the task, and the field."""


def _lies_inside(name: str) -> str:
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"must be a relative path within the tools' data, such as notes.db (got {name!r})")
    return name


DataFile = Annotated[str, AfterValidator(_lies_inside)]


def _compiles(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        if is_large(pattern):
            raise ValueError(f"{pattern[:50]!r}… is too complex: use a shorter one, with fewer repetitions")
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return patterns


Patterns = Annotated[list[str], AfterValidator(_compiles)]
"""Regular expressions, case-insensitive."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(_Strict):
    """A query and its expected rows. ``database``: the file to query; None: the task's."""

    sql: str = Field(min_length=1)
    rows: list[list[Cell]]
    database: DataFile | None = None


class Call(_Strict):
    """A tool call, made or expected."""

    tool: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)

    def covers(self, made: Call) -> bool:
        """Whether a call meets this expectation. Arguments that the expectation doesn't name may have any value."""
        wanted = self.arguments.items()
        return self.tool == made.tool and all(
            name in made.arguments and made.arguments[name] == value for name, value in wanted
        )

    def __str__(self) -> str:
        return f"{self.tool} {json.dumps(self.arguments, ensure_ascii=False)}" if self.arguments else self.tool


EXPECTATIONS = ("expect", "answer", "says", "says_not", "called", "not_called", "asked", "ends")
"""Fields of a task that define success; a turn may have those of `Criteria`."""


class Criteria(_Strict):
    """What a conversation, or one turn of it, must lead to."""

    expect: list[Expectation] = Field(default_factory=list)
    """Expected rows in the databases after the last turn, or right after this one."""
    says: Patterns = Field(default_factory=list)
    """Each must match the last answer, or the turn's."""
    says_not: Patterns = Field(default_factory=list)
    """None may match any answer, or the turn's."""
    called: list[Call] = Field(default_factory=list)
    """Calls that must be made, with at least the named arguments."""
    not_called: list[Call] = Field(default_factory=list)
    """Calls that must not be made."""

    @property
    def expects(self) -> bool:
        """Whether anything is expected."""
        return any(getattr(self, name, None) for name in EXPECTATIONS)


class Branch(_Strict):
    """The user's next message, chosen by a word in the agent's last answer, such as ``email``."""

    default: str = Field(min_length=1)
    if_asked: dict[str, str] = Field(default_factory=dict)


class Turn(Criteria):
    """A message of the user, and the criteria for its answer and the calls before it."""

    user: Annotated[str, Field(min_length=1)] | Branch
    table: DataFile | None = None
    """CSV file in the tools' data that the user sends along."""
    image: DataFile | None = None
    """Image file in the tools' data that the user sends along."""

    def text(self, last_answer: str = "") -> str:
        """The user's message after the agent's last answer."""
        if isinstance(self.user, str):
            return self.user
        for word, text in self.user.if_asked.items():
            # Not \b, which finds no word in a language without blanks.
            if re.search(rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])", last_answer, re.IGNORECASE):
                return text
        return self.user.default


class RecordedCall(Call):
    """A call and the result that the model saw. ``denied``: a person's reason for denying the call."""

    ok: bool = True
    content: Any = None
    error: str | None = None
    note: str | None = None
    denied: str | None = None


YES = "yes"
"""What a task's user says when asked to agree to calls."""
MOST_YES = 3
"""How often the user does so in one turn."""


class Task(Criteria):
    id: str = Field(pattern=r"^[\w.-]{1,64}$")
    agent: str = Field(min_length=1)
    turns: list[Turn] = Field(min_length=1)
    database: DataFile | None = None
    """File in the tools' data for ``setup`` and ``expect``; None: the only database there."""
    setup: list[str] = Field(default_factory=list)
    """SQL to run before the first turn."""
    approve: bool = True
    """Whether calls that need a person's approval, or the user's own yes, get it; otherwise they are denied."""
    subject: GivenSubject | None = None
    """User who is signed in: an id, or an object with ``id`` and ``claims``; None: an anonymous user."""
    answer: Patterns = Field(default_factory=list)
    """Each must match one of the answers."""
    asked: list[Call] = Field(default_factory=list)
    """Calls for which approval must be requested."""
    ends: RunStatus | None = None
    """Status that the last run must have."""
    recorded: list[RecordedCall] | None = None
    """Recorded results of calls. If set, no tool is called."""

    def says_yes(self, run: Run, before: int) -> bool:
        """Whether the user answers a run's question about calls with ``YES``.

        Args:
            before: how often the user has done so in this turn.
        """
        return self.approve and run.stop_reason is StopReason.CONFIRMATION and before < MOST_YES

    @field_validator("ends")
    @classmethod
    def _is_an_end(cls, status: RunStatus | None) -> RunStatus | None:
        if status is not None and not status.terminal:
            raise ValueError(f"{status} is not the status of an ended run")
        return status

    @model_validator(mode="after")
    def _can_be_judged(self) -> Task:
        if self.recorded is not None and (self.setup or any(one.expect for one in (self, *self.turns))):
            raise ValueError("setup and expect can't be used with recorded results, because no tool is called")
        if not any(one.expects for one in (self, *self.turns)):
            raise ValueError(f"expects nothing: set one of {', '.join(EXPECTATIONS)}")
        return self


def load(path: Path) -> list[Task]:
    """Tasks of a file, in order.

    Raises:
        TaskError: the file is missing or empty, a line is invalid, or two tasks share an id.
    """
    return [task for _, task in read([path])]


def read(paths: Iterable[Path]) -> list[tuple[str, Task]]:
    """Tasks of several files, each with its place ``file:line``.

    Raises:
        TaskError: a file is missing or empty, a line is invalid, or two tasks share an id.
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
                raise TaskError(f"{path}:{number}: id {task.id!r} is already used in {place}")
            taken[task.id] = path, number
            found.append((f"{path}:{number}", task))
        if len(found) == before:
            raise TaskError(f"{path}: contains no task")
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = plain.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: can't be read: {error}") from None
    # Not splitlines: JSON strings may contain other line separators.
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _parse(where: str, line: str) -> Task:
    try:
        document = json.loads(line)
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise TaskError(f"{where}: not a task: its JSON is nested too deeply") from None
    except ValueError:  # of int()
        raise TaskError(f"{where}: not a task: a number has too many digits") from None
    if not isinstance(document, dict):
        raise TaskError(f"{where}: must be a JSON object with id, agent, turns …")
    try:
        return Task.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the line"
        raise TaskError(f"{where}: {name}: {_told(first)}") from None


def _told(problem: ErrorDetails) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"].removeprefix("Value error, ")
    *above, name = problem["loc"]
    known = Task.model_fields if not above else Turn.model_fields if len(above) == 2 and above[0] == "turns" else {}
    return "; ".join(filter(None, ("no such field", did_you_mean(str(name), known, most=1))))
