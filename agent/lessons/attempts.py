"""Lessons that a model plays: its runs that end as the solution does are rows to train on (rejection sampling).

A solution is one way to do right; a model's own way, where it ends right too, is nearer to what it or its student
would write. A case is played twice from the same data: by the oracle, then by the model. The model's runs are kept if
they leave the same database and each answer has the numbers of the oracle's answer, in the same script.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from agent.lessons.mix import CASES_OF_A_SEED, drawn
from agent.lessons.project_lessons import read_lessons
from agent.lessons.stage import Player, Stage
from agent.project.project import Project
from agent.run.journal import new_id
from flightloop.lessons import Case, NoCase

SOURCE = "attempts"
_NUMBER = re.compile(r"\d+(?:[.,:-]\d+)*")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
Row = dict[str, Any]


@dataclass
class Attempts:
    """Plays cases endlessly.

    Attributes:
        endings: number of cases by how the model's runs ended; ``right`` are kept.
    """

    project: Project
    player: Player
    seed: int
    endings: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Reads the lessons. Raises ConfigError if the project has none, or they can't be read."""
        self._lessons = read_lessons(self.project.folder)

    async def rows(self) -> AsyncGenerator[list[Row], None]:
        """Yields the rows of each case: none if the model's runs didn't end right."""
        random, spec = Random(self.seed), self.project.agent(self._lessons.AGENT)
        spec = spec.model_copy(update={"examples": ()})
        with TemporaryDirectory(prefix="flightloop-attempts-") as home:
            data, before = Path(home) / "data", Path(home) / "before"
            data.mkdir()
            stage = Stage(self.project, spec, data)
            while True:
                self._lessons.seed(data, random)
                for _ in range(CASES_OF_A_SEED):
                    try:
                        case = drawn(self._lessons, random)(self._lessons.begin(data, random))
                        yield await self._attempted(stage, case, before)
                    except NoCase:
                        continue

    async def _attempted(self, stage: Stage, case: Case, before: Path) -> list[Row]:
        shutil.copytree(stage.data, before)
        session = new_id("lesson")  # the same for both, as tools may write it
        try:
            right = await stage.play(case, session=session)
            wanted = self._state(stage.data)
            _restore(before, stage.data)
            made, ending = await self._played(stage, case, session, right, wanted)
        finally:
            _restore(before, stage.data)
            shutil.rmtree(before)
        self.endings[ending] += 1
        return [{**row, "source": SOURCE} for row in made] if ending == "right" else []

    async def _played(
        self, stage: Stage, case: Case, session: str, right: list[Row], wanted: list[str]
    ) -> tuple[list[Row], str]:
        try:
            made = await stage.play(case, player=self.player, session=session)
        except NoCase:
            return [], "no answer"
        if self._state(stage.data) != wanted:
            return [], "another database"
        if not all(map(_says_the_same, made, right)):
            return [], "another answer"
        return made, "right"

    def _state(self, data: Path) -> list[str]:
        """The project's database as SQL, without receipts, whose keys and times differ."""
        file = self.project.data.database
        if file is None:
            return []
        with closing(sqlite3.connect(data / file)) as database:
            return [line for line in database.iterdump() if not line.startswith('INSERT INTO "receipts"')]


def _restore(before: Path, data: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(before, data)


def _says_the_same(made: Row, right: Row) -> bool:
    said, wanted = (str(row["messages"][-1]["content"]) for row in (made, right))
    numbers = set(_NUMBER.findall(wanted)) <= set(_NUMBER.findall(said))
    return numbers and bool(_CHINESE.search(said)) == bool(_CHINESE.search(wanted))
