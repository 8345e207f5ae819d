"""``python -m agent regress``: turns a recorded run into a task of the project."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.admin.audits import os_user
from agent.config import Settings
from agent.evals.regression import Wanted, regression
from agent.evals.task import Call, Task, read
from agent.project.project import ELSEWHERE
from agent.serve import factories
from flightloop.acts import Act
from flightloop.errors import ConfigError, InvalidRequest
from flightloop.runs import RunStatus

FILE = "regressions.jsonl"
MASKED = ("subject", "turns", "answer", "called", "not_called", "recorded")
"""Fields of a task with text of users, models or tools, or about a user."""


@dataclass(frozen=True)
class Request:
    """Options of ``python -m agent regress``."""

    run_id: str
    tenant_id: str = "default"
    answer: Sequence[str] = ()
    """Regular expressions that an answer must match."""
    called: Sequence[str] = ()
    """Calls that must be made: a tool's name, optionally followed by a JSON object of arguments."""
    not_called: Sequence[str] = ()
    """Calls that must not be made."""
    ends: RunStatus = RunStatus.SUCCEEDED
    good: bool = False
    """Whether the recorded run was right, so that it must solve the task."""
    mask: bool = False
    id: str | None = None
    """Id of the task; None: the run's."""
    out: Path | None = None
    """Output file; None: the project's regressions."""


async def write_regression(settings: Settings, request: Request, tell: Callable[[str], None]) -> None:
    """Turns a run into a task, and appends it to the project's regressions or to ``request.out``.

    Raises:
        ConfigError: the file is unusable, or already has a task with this id.
        NotFound, Conflict, InvalidRequest: the run can't become a task (``agent.evals.regression``).
    """
    out = request.out or _file(settings)
    called, not_called = [list(map(_call, lines)) for lines in (request.called, request.not_called)]
    wanted = Wanted(request.answer, called, not_called, request.ends, request.good)
    journal = factories.open_journal(settings)
    try:
        task = await regression(journal, request.tenant_id, request.run_id, wanted)
        details = {"file": str(out), "masked": request.mask}
        await journal.acts.record(request.tenant_id, Act.EXPORT, os_user(), request.run_id, details)
        document = task.model_dump(mode="json", exclude_defaults=True)
        task = Task.model_validate(document | {"id": request.id or task.id})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    finally:
        await journal.close()
    task, masked = _masked(task) if request.mask else (task, 0)
    append(out, task, factories.read_project(settings).tasks)
    tell(f"task {task.id} in {out}: {len(task.turns)} inputs, {len(task.recorded or ())} recorded calls")
    if request.mask:
        tell(f"{masked} values masked; check the file before sharing it")
    else:
        tell("it contains what the user wrote and the tools returned, unmasked; --mask replaces personal data and keys")


def _file(settings: Settings) -> Path:
    if settings.project is None:
        raise ConfigError(f"the bundled project can't be changed: name {ELSEWHERE}, or a file with --out")
    folder = settings.project / "tasks"
    if folder.is_symlink():
        raise ConfigError(f"{folder}: is a link; name the file with --out")
    return folder / FILE


def _call(line: str) -> Call:
    """Parses a call. Raises InvalidRequest."""
    tool, _, arguments = line.partition(" ")
    try:
        return Call(tool=tool, arguments=json.loads(arguments) if arguments.strip() else {})
    except ValueError:
        raise InvalidRequest(f'{line!r} is not a call: write TOOL, or TOOL {{"argument": "value"}}') from None


def _masked(task: Task) -> tuple[Task, int]:
    from agent.admin.masking import Masking  # a second of imports

    masking = Masking(random.SystemRandom())
    document: dict[str, Any] = task.model_dump(mode="json", exclude_defaults=True)
    masked = masking.value({name: document[name] for name in MASKED if name in document})
    return Task.model_validate(document | masked), masking.counts.total()


def _no_link(path: str, flags: int) -> int:
    """Opens a file without following a symbolic link, which could lead outside the project."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def append(path: Path, task: Task, known: Sequence[Path]) -> None:
    files = dict.fromkeys(file.resolve() for file in (*known, path) if file.is_file() and file.stat().st_size)
    for where, other in read(files):
        if other.id == task.id:
            raise ConfigError(f"{where}: already has a task {task.id}; choose another --id")
    named = {"id": task.id, "agent": task.agent} | task.model_dump(mode="json", exclude_defaults=True)
    line = json.dumps(named, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", opener=_no_link) as file:
            file.seek(0, 2)
            if file.tell():
                file.seek(-1, 2)
                line = line if file.read() == b"\n" else "\n" + line  # the last line has no newline
            file.write(line.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
