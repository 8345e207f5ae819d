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
CASES = Path(FOLDER) / "cases.py"

Maker = Callable[[Any], Case]
"""Makes a case from the result of ``begin``. Raises NoCase."""


class ProjectLessons(Protocol):
    """Interface of the module. Functions draw only from the given ``random``, so that a seed determines the lessons."""

    @property
    def AGENT(self) -> str:
        """Name of the agent that handles the cases."""

    @property
    def CASES(self) -> Mapping[Maker, int]:
        """Makers of cases, with their relative frequencies."""

    def seed(self, data: Path, random: Random) -> None:
        """Creates data for the next cases in ``data``, the folder of the tools' data."""

    def begin(self, data: Path, random: Random) -> Any:
        """Returns the argument for the maker of the next case."""

    def messages(self) -> Mapping[str, Sequence[str]]:
        """Returns wordings of customers' messages by intent, at least one for each."""

    def say(self, data: Path, random: Random, wording: str) -> str:
        """Returns a customer's message with this wording and its placeholders filled."""

    def somebody(self, random: Random) -> Mapping[str, str]:
        """Draws values for the placeholders of the sentences in ``lessons/judging.yaml``."""


def read_lessons(project: Path) -> ProjectLessons:
    """Lessons of a project. Their code runs in this process, with all its rights.

    Raises:
        ConfigError: the project has no lessons, or they can't be imported.
    """
    path = project / CASES
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; the project has no lessons")
    try:
        return cast(ProjectLessons, import_module(project, MODULE))
    except FlightloopError:
        raise
    except Exception as error:
        raise ConfigError(f"{path}: the lessons can't be imported: {type(error).__name__}: {error}") from error
