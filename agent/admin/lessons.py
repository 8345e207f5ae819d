"""``python -m agent dataset lessons``: runs a project's lessons with a model that knows their solutions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import aclosing, closing
from itertools import islice
from pathlib import Path

from agent.config import Settings
from agent.lessons.mix import Lessons
from agent.serve import factories
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
