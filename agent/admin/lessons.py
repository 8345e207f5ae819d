"""``dataset lessons`` and ``dataset attempts``: a project's lessons, played by their solutions or by a model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing, closing
from itertools import islice
from pathlib import Path

from rich.console import Console

from agent.admin.served_model import served_model
from agent.config import Settings
from agent.lessons.attempts import Attempts
from agent.lessons.mix import Lessons
from agent.lessons.stage import Player
from agent.serve import factories
from flightloop.cli.console import counting_bar
from flightloop.errors import ConfigError


async def write_lessons(
    settings: Settings,
    rows: int,
    seed: int,
    out: Path,
    examples: bool,
    tell: Callable[[str], None],
    *,
    trusted: bool = False,
) -> None:
    """Writes training rows as JSON lines and prints a summary.

    Args:
        examples: whether prompts include the agent's examples, as in production.
        trusted: whether a project other than the default one may run its code in this process.

    Raises:
        ConfigError: the project has no lessons or is not trusted, or ``out`` cannot be written.
    """
    _check_trusted(settings, trusted)
    logging.getLogger("bm25s").disabled = True  # it sets itself to DEBUG
    lessons = Lessons(factories.read_project(settings), seed, examples)
    written = 0
    try:
        with out.open("w", encoding="utf-8") as file:
            async with aclosing(lessons.rows()) as made:
                async for row in made:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    written += 1
                    if written == rows:
                        break
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error
    left_out = sum(lessons.dropped.values())
    tell(f"{written} rows in {out}; {left_out} cases left out, most because their language lacks phrases")


async def write_attempts(
    settings: Settings, rows: int, seed: int, out: Path, console: Console, *, trusted: bool = False
) -> None:
    """Lets a model play the lessons until enough of its runs end right, and writes these as JSON lines.

    What was written stays if it is interrupted.

    Raises:
        ConfigError: the project has no lessons or is not trusted, no model answers, or ``out`` cannot be written.
    """
    _check_trusted(settings, trusted)
    logging.getLogger("bm25s").disabled = True  # it sets itself to DEBUG
    project = factories.read_project(settings)
    written = 0
    try:
        async with served_model(settings) as model:
            attempts = Attempts(project, Player(model.chat, model.name), seed)
            with out.open("w", encoding="utf-8", buffering=1) as file, counting_bar(console) as progress:
                bar = progress.add_task("rows", total=rows)
                async with aclosing(attempts.rows()) as made:
                    async for kept in made:
                        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
                        written += len(kept)
                        progress.update(bar, completed=min(written, rows), description=_endings(attempts.endings))
                        if written >= rows:
                            break
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error
    console.print(f"{written} rows in {out}; cases by how they ended: {_endings(attempts.endings)}", soft_wrap=True)


def _endings(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items())) or "rows"


def write_messages(
    settings: Settings, rows: int, seed: int, out: Path, tell: Callable[[str], None], *, trusted: bool = False
) -> None:
    """Writes customers' messages with their intents as JSON lines and prints a summary.

    Raises:
        ConfigError: the project has no lessons or is not trusted, or ``out`` cannot be written.
    """
    _check_trusted(settings, trusted)
    made = Lessons(factories.read_project(settings), seed).messages()
    try:
        with closing(made), out.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in islice(made, rows))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error
    tell(f"{rows} rows in {out}")


def _check_trusted(settings: Settings, trusted: bool) -> None:
    if settings.project is not None and not trusted:
        raise ConfigError(
            f"{settings.project}: the code of its lessons and tools would run in this process, with all your rights;"
            " if the project is your own, add --trusted"
        )
