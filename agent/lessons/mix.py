"""Draws and runs the cases of a project's lessons, and makes training rows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from agent.lessons.judging import Judging
from agent.lessons.project_lessons import Maker, ProjectLessons, read_lessons
from agent.lessons.stage import Stage
from agent.project.intents import Intents
from agent.project.project import Project
from flightloop.lessons import NoCase

CASES_OF_A_SEED = 25
CLASSIFIED, CRITICISED, OFFENSIVE = 0.25, 0.04, 0.02
"""Shares of cases with an additional row: classify the first message, criticise the answer, judge offensive text."""


@dataclass
class Lessons:
    """Makes rows endlessly. ``dropped``: number of cases that could not be made or run, by reason."""

    project: Project
    seed: int
    examples: bool = True
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Reads the lessons. Raises ConfigError if the project has none, or they can't be read."""
        self._lessons = read_lessons(self.project.folder)

    async def rows(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yields rows in the tuner's format, with ``source`` and ``intent``."""
        random, lessons = Random(self.seed), self._lessons
        folder, spec = self.project.folder, self.project.agent(lessons.AGENT)
        policy = self.project.policy_of(spec).document
        spec = spec if self.examples else spec.model_copy(update={"examples": ()})
        intents = Intents.read(folder)
        judging = Judging(folder, policy.constitution.principles, lessons.somebody, random)
        with TemporaryDirectory(prefix="flightloop-lessons-") as home:
            stage = Stage(self.project, spec, Path(home))
            while True:
                lessons.seed(stage.data, random)
                for _ in range(CASES_OF_A_SEED):
                    played = await self._case(stage, random)
                    for row in [*played.rows, *await self._beside(played, intents, judging, random)]:
                        yield row

    def messages(self) -> Generator[dict[str, Any], None, None]:
        """Yields rows of single messages with their intents, endlessly and equally often. Executes no runs."""
        random, lessons = Random(self.seed), self._lessons
        intents, known = Intents.read(self.project.folder), lessons.messages()
        with TemporaryDirectory(prefix="flightloop-lessons-") as home:
            data = Path(home)
            wordings = {intent: _shuffled(known[intent], random) for intent in intents.about}
            while True:
                lessons.seed(data, random)
                for intent in intents.about:
                    yield _classified(intents, lessons.say(data, random, next(wordings[intent])), intent)

    async def _case(self, stage: Stage, random: Random) -> _Played:
        maker = drawn(self._lessons, random)
        try:
            case = maker(self._lessons.begin(stage.data, random))
            rows = await stage.play(case)
        except NoCase as error:
            self.dropped[f"{maker.__name__}: {type(error).__name__} {error}"] += 1
            return _Played("", "", [])
        return _Played(case.turns[0].said, case.turns[0].intent or case.intent, rows)

    async def _beside(
        self, played: _Played, intents: Intents, judging: Judging, random: Random
    ) -> list[dict[str, Any]]:
        """Rows that teach the model's other tasks, made from a case: classifying its message, judging texts."""
        if not played.rows:
            return []
        rows = []
        if random.random() < CLASSIFIED:
            rows.append(_classified(intents, played.said, played.intent))
        if random.random() < CRITICISED:
            rows += await judging.critique(played.rows[-1]["messages"][-1]["content"])
        if random.random() < OFFENSIVE:
            rows += await judging.offensive()
        return rows


def drawn(lessons: ProjectLessons, random: Random) -> Maker:
    """A maker of cases, by the lessons' frequencies."""
    [maker] = random.choices(list(lessons.CASES), list(lessons.CASES.values()))
    return maker


@dataclass(frozen=True)
class _Played:
    said: str
    intent: str
    rows: list[dict[str, Any]]


def _classified(intents: Intents, said: str, intent: str) -> dict[str, Any]:
    asked = intents.request(said, "").model_dump(mode="json", exclude_none=True, by_alias=True)
    answer = {"role": "assistant", "content": intents.answer(intent)}
    return {
        "messages": [*asked["messages"], answer],
        "response_format": asked["response_format"],
        "source": "intents",
        "intent": intent,
    }


def _shuffled(wordings: Sequence[str], random: Random) -> Iterator[str]:
    """Yields all wordings again and again, in a new random order each time."""
    while True:
        yield from random.sample(wordings, len(wordings))
