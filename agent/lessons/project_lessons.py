"""Interface of a project's ``lessons/cases.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

from flightloop.errors import ConfigError, FlightloopError
from flightloop.lessons import Case
from tools.project_modules import import_module

FOLDER = "lessons"
MODULE = f"{FOLDER}.cases"

Maker = Callable[[Any], Case]
"""Makes a case from the result of ``begin``. Raises NoCase."""


class ProjectLessons(Protocol):
    """Functions draw from the given ``random`` only, so that lessons are the same for a seed."""

    @property
    def AGENT(self) -> str:
        """Name of the agent."""

    @property
    def CASES(self) -> Mapping[Maker, int]:
        """Makers of cases, with their weights."""

    def seed(self, data: Path, random: Random) -> None:
        """Creates data for the next cases in the folder of the tools' data."""

    def begin(self, data: Path, random: Random) -> Any:
        """Argument for the maker of the next case."""

    def messages(self) -> Mapping[str, Sequence[str]]:
        """Wordings of customers' messages by their intent, some of each."""

    def say(self, data: Path, random: Random, wording: str) -> str:
        """A message in one of these wordings."""

    def somebody(self, random: Random) -> Mapping[str, str]:
        """Values for the slots of the sentences in ``lessons/judging.yaml``."""


def read_lessons(project: Path) -> ProjectLessons:
    """Lessons of a project. Their code runs in this process, with all its rights.

    Raises:
        ConfigError: the project has no lessons, or they can't be imported.
    """
    path = project / FOLDER / "cases.py"
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; the project has no lessons")
    try:
        return cast(ProjectLessons, import_module(project, MODULE))
    except FlightloopError:
        raise
    except Exception as error:
        raise ConfigError(f"{path}: the lessons can't be imported: {type(error).__name__}: {error}") from error
