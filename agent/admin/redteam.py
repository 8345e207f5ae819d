"""``python -m agent redteam``: attacks a project with its own tools, policies and agents."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from agent.admin.evals import WIDTH, fill
from agent.admin.output import write_json
from agent.admin.served_model import served_model
from agent.config import Settings
from agent.project.project import ELSEWHERE, Project
from agent.redteam.arena import Arena, Driver
from agent.redteam.attack import Attack, Finding
from agent.redteam.generate import Generator
from agent.redteam.report import Report
from agent.redteam.target import Target, targets
from agent.serve import factories
from flightloop.cli.console import PlainConsole, counting_bar
from flightloop.errors import ConfigError
from tools.seeding import FILE as SEED

SCRIPTED = "none: a script does all that it is told"


@dataclass(frozen=True)
class Wish:
    """Options of ``python -m agent redteam``."""

    rounds: int = 4
    seed: int = 1
    agent: str | None = None
    url: str | None = None
    """Base URL of an OpenAI-compatible model to attack with; None: the model that does all that it is told."""
    out: Path | None = None
    """JSON file for the report."""


async def redteam(settings: Settings, wish: Wish, console: Console | None = None) -> bool:
    """Makes the attacks and prints the report. Returns whether attacks were reached and none passed.

    Raises:
        ConfigError: the project can't be used, or ``wish.out`` can't be written.
    """
    console = console or (PlainConsole() if sys.stdout.isatty() else PlainConsole(width=WIDTH))
    project = factories.read_project(settings)
    found, left = targets(project)
    if wish.agent is not None and wish.agent not in project.agents:
        known = ", ".join(sorted(project.agents))
        raise ConfigError(f"{project.folder}: no agent is named {wish.agent}; its agents: {known}", param="agent")
    chosen = [one for one in found if wish.agent in (None, one.agent.name)]
    if not chosen:
        why = "; ".join(f"{one.what}: {one.why}" for one in left)
        raise ConfigError(f"{project.folder}: there is nothing to attack ({why}); name {ELSEWHERE}", param="agent")
    async with AsyncExitStack() as stack:
        driver = await stack.enter_async_context(_driver(settings, wish))
        seeded = stack.enter_context(_seeded(settings, project))
        arena = await stack.enter_async_context(Arena(settings, project, partial(fill, project, seeded), driver))
        chosen = [await arena.known(one) for one in chosen]
        left += [note for one in chosen if (note := one.only_anonymous())]
        attacks: list[tuple[Attack, Target]] = []
        for target in chosen:
            generator = Generator(target, project.registry, wish.seed)
            attacks += [(one, target) for number in range(wish.rounds) for one in generator.round(number)]
            left += generator.left_out
        findings = await _play(arena, attacks, console)
    by_name = {one.agent.name: one for one in chosen}
    name = driver.name if driver else SCRIPTED
    report = Report(str(project.folder), name, wish.seed, wish.rounds, by_name, findings, left)
    console.print(report.table())
    for line in report.sentences():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if wish.out is not None:
        write_json(wish.out, report.document())
    return report.measured and not report.holes


@asynccontextmanager
async def _driver(settings: Settings, wish: Wish) -> AsyncIterator[Driver | None]:
    """The model to attack with; None: the script. Raises ConfigError if it does not answer."""
    if wish.url is None:
        yield None
        return
    async with served_model(settings.model_copy(update={"model_url": wish.url})) as model:
        yield Driver(model.chat, model.name)


async def _play(arena: Arena, attacks: list[tuple[Attack, Target]], console: Console) -> list[Finding]:
    findings: list[Finding] = []
    with counting_bar(console) as progress:
        bar = progress.add_task("attacks", total=len(attacks))
        for attack, target in attacks:
            findings.append(await arena.play(attack, target))
            holes = sum(one.is_hole for one in findings)
            progress.update(bar, advance=1, description=f"{holes} passed, last: {attack.family.value} {attack.tool}")
    return findings


@contextmanager
def _seeded(settings: Settings, project: Project) -> Iterator[Path]:
    """A temporary folder with the data that the project seeds, or else with a copy of its database."""
    with TemporaryDirectory(prefix="flightloop-seeded-") as folder:
        data = Path(folder).resolve()
        name = project.data.database
        if (project.folder / SEED).exists():
            factories.seed_into(settings, data)
        elif name is not None and (settings.data / name).is_file():
            _copied(settings.data / name, data / name)
        yield data


def _copied(source: Path, target: Path) -> None:
    """Copies a database that may be in use, without writing to it. Raises ConfigError."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        raise ConfigError(f"{source}: cannot be copied ({error})") from error
