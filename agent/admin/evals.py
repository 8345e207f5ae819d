"""``python -m agent eval``: runs a project's tasks, each with separate data."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from agent.admin.output import write_json
from agent.admin.served_model import served_model
from agent.config import Settings
from agent.evals.dialogue import dialogue
from agent.evals.play import Played, Player
from agent.evals.tally import Tally
from agent.evals.task import Call, Task, TaskError, read
from agent.model_call.call import STOPPED
from agent.project.project import ELSEWHERE, Project
from agent.project.subagent import tool_name
from agent.serve import factories
from flightloop.cli.console import PlainConsole, counting_bar
from flightloop.counts import counted
from flightloop.errors import ConfigError, Interrupted, NotFound
from flightloop.nearest import did_you_mean
from flightloop.runs import RunStatus
from tools.registry import problems_of
from tools.validation import validator_of

WIDTH = 120
"""Width of the table if the output is not a terminal."""
DATA = Path("tasks") / "data"
"""Subfolder of a project that is copied into each task's initial data."""


class Show(StrEnum):
    """Tasks whose conversations are printed."""

    NONE = "none"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True)
class Wish:
    """Options of ``python -m agent eval``."""

    files: tuple[Path, ...] = ()
    """Task files; empty: the project's."""
    agent: str | None = None
    ids: frozenset[str] = frozenset()
    """Ids of the tasks to run; empty: all."""
    repeat: int = 1
    at_least: float = 1.0
    """Minimum share of attempts that must succeed."""
    out: Path | None = None
    """JSON file for the results."""
    show: Show = Show.FAILED


async def evaluate(settings: Settings, wish: Wish, console: Console | None = None) -> bool:
    """Runs the tasks and prints the results. Returns whether at least the share ``wish.at_least`` was solved.

    Raises:
        ConfigError: the project, a task or the model can't be used, or ``wish.out`` can't be written.
        Interrupted: an emergency stop is latched at the model's server.
    """
    console = console or (PlainConsole() if sys.stdout.isatty() else PlainConsole(width=WIDTH))
    project = factories.read_project(settings)
    tasks = _chosen(project, wish)
    async with served_model(settings) as model:
        console.print(
            f"{counted(len(tasks), 'task')} of {project.folder}", highlight=False, markup=False, soft_wrap=True
        )
        console.print(f"model {model.name} at {model.where}", highlight=False, markup=False, soft_wrap=True)
        guards = factories.make_guards(settings, model.chat, model.name)
        hosts = partial(factories.make_hosts, settings)
        with _seeded(settings) as seeded:
            filled, images = partial(fill, project, seeded), partial(factories.make_images, settings)
            async with Player(project, model, hosts, guards, filled, images) as player:
                tally = Tally(await _play_all(player, tasks, wish, console), model.name, model.where)
    console.print(tally.table())
    console.print(tally.sentence(), highlight=False, markup=False, soft_wrap=True)
    if wish.out is not None:
        write_json(wish.out, tally.document())
    return tally.share >= wish.at_least


def check(settings: Settings, wish: Wish, console: Console | None = None) -> bool:
    """Reads the tasks and seeds their data without a model, and prints the calls that their agents can't make. Returns
    whether all can.

    Raises:
        ConfigError: the project, its ``seed.py`` or a task can't be used.
    """
    console = console or PlainConsole()
    project = factories.read_project(settings)
    tasks = _chosen(project, wish)
    with _seeded(settings):
        pass  # a broken ``seed.py`` would fail every task
    wrong = [f"{where}: {problem}" for where, task in tasks for problem in _impossible_calls(project, task)]
    found = "1 mistake" if len(wrong) == 1 else f"{len(wrong) or 'no'} mistakes"
    for line in (*wrong, f"{counted(len(tasks), 'task')} of {project.folder}: {found}"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return not wrong


def _impossible_calls(project: Project, task: Task) -> Iterator[str]:
    """Calls that a task names and that are never made, whatever the model does. In ``not_called`` they forbid nothing:
    the agent lacks the tool, or the tool's schema the arguments."""
    agent = project.agent(task.agent)
    known = [*agent.tools, *map(tool_name, agent.agents)]
    for place, call in _named_calls(task):
        if call.tool not in known:
            hint = did_you_mean(call.tool, known)
            yield f"{place}.tool: {task.agent} has no tool named {call.tool}; {hint}".removesuffix("; ")
        elif call.tool in project.registry:
            some = {**project.registry.get(call.tool).parameters, "required": []}  # a task may leave arguments out
            for problem in problems_of(validator_of(some), call.arguments):
                yield f"{place}.arguments: {problem}"


def _named_calls(task: Task) -> Iterator[tuple[str, Call]]:
    """Calls in a task's expectations, each with its place, such as ``turns.0.not_called.1``."""
    turns = [(f"turns.{number}.", turn) for number, turn in enumerate(task.turns)]
    for before, criteria in (("", task), *turns):
        for field in ("called", "not_called", "asked"):
            for number, call in enumerate(getattr(criteria, field, ())):
                yield f"{before}{field}.{number}", call


async def _play_all(player: Player, tasks: Sequence[tuple[str, Task]], wish: Wish, console: Console) -> list[Played]:
    played: list[Played] = []
    with counting_bar(console) as progress:
        bar = progress.add_task("tasks", total=len(tasks) * wish.repeat)
        for where, task in tasks:
            for attempt in range(1, wish.repeat + 1):
                played.append(one := await player.play(task, where))
                _check_stop(one)
                if wish.show is Show.ALL or (wish.show is Show.FAILED and not one.solved):
                    console.print(dialogue(one, attempt))
                solved = sum(each.solved for each in played)
                progress.update(bar, advance=1, description=f"{solved} solved, last: {task.id}")
    return played


def _check_stop(played: Played) -> None:
    """Raises Interrupted if an emergency stop ended a run: it would end all others too."""
    for run in played.runs:
        if run.status is RunStatus.INTERRUPTED:
            told = run.error.message if run.error is not None else STOPPED
            raise Interrupted(f"the evaluation ended at the task {played.task.id}: {told}")


def _chosen(project: Project, wish: Wish) -> list[tuple[str, Task]]:
    files = wish.files or project.tasks
    if not files:
        raise ConfigError(f"{project.folder / 'tasks'}: contains no *.jsonl; name a file with --tasks, or {ELSEWHERE}")
    tasks = read(files)
    if missing := sorted(wish.ids - {task.id for _, task in tasks}):
        raise ConfigError(f"no task has the id {missing[0]}; looked in {', '.join(map(str, files))}")
    chosen = [
        (where, task)
        for where, task in tasks
        if wish.agent in (None, task.agent) and (not wish.ids or task.id in wish.ids)
    ]
    if not chosen:
        raise ConfigError(f"no selected task belongs to the agent {wish.agent}")
    for where, task in chosen:
        try:
            project.agent(task.agent)
        except NotFound as error:
            raise TaskError(f"{where}: agent: {error.message}") from error
    return chosen


@contextmanager
def _seeded(settings: Settings) -> Iterator[Path]:
    """Yields a temporary folder with the data that the project seeds."""
    with TemporaryDirectory(prefix="flightloop-seeded-") as folder:
        data = Path(folder).resolve()
        factories.seed_into(settings, data)
        yield data


def fill(project: Project, seeded: Path, data: Path) -> None:
    """Copies the seeded data and the project's ``tasks/data`` into a task's folder."""
    _copy(seeded, data)
    if os.path.lexists(project.folder / DATA):
        _copy(project.folder.resolve() / DATA, data)


def _copy(source: Path, target: Path) -> None:
    """Copies files and folders. Raises ConfigError for links, which could lead to files that tools must not read."""
    odd = [path for path in (source.parent, source, *_below(source)) if not _is_plain(path)]
    if odd:
        raise ConfigError(f"{odd[0]}: must be a regular file or folder, not a link")
    shutil.copytree(source, target, dirs_exist_ok=True)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)
