"""Which cases are made, how often, and the rows that they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from agent.lessons import goods, orders, refunds, several, talk
from agent.lessons.desk import Desk, NoSuchOrder
from agent.lessons.judging import Judging
from agent.lessons.moves import Unfound
from agent.lessons.oracle import OutOfStep
from agent.lessons.phrases import ENGLISH, OTHERS, Phrases, Untold
from agent.lessons.stage import Case, Stage
from agent.project.intents import Intents
from agent.project.project import Project
from tools.shop.database import FILE
from tools.shop.seed import SEED, Recipe, reseed

Maker = Callable[[Desk], Case]
WEIGHTS: dict[Maker, int] = {
    orders.track_order: 8,
    orders.track_by_item: 4,
    orders.track_vague: 3,
    orders.order_details: 8,
    orders.my_orders: 4,
    orders.cancel_order: 9,
    orders.cancel_by_email: 5,
    orders.cancel_vague: 4,
    orders.change_address: 9,
    refunds.damaged: 6,
    refunds.damaged_replace: 2,
    refunds.damaged_open: 2,
    refunds.part: 5,
    refunds.rest: 2,
    refunds.wrong: 5,
    refunds.wrong_refund: 3,
    refunds.lost: 6,
    refunds.lost_found_out: 3,
    refunds.unwanted: 7,
    refunds.by_email: 3,
    refunds.vague: 4,
    talk.rule: 46,
    talk.warranty_claim: 2,
    talk.person: 7,
    talk.small_talk: 5,
    talk.out_of_scope: 8,
    goods.price: 4,
    goods.stock: 4,
    goods.warranty: 5,
    goods.returning: 5,
    goods.cheaper: 3,
    goods.category: 2,
    goods.follow_up: 2,
    goods.untold: 3,
    goods.opinion: 3,
    several.several: 10,
    several.follow_up: 7,
    several.long_talk: 5,
}
FOREIGN = 0.12
"""Share of the cases in another language than English."""
CASES_OF_A_SHOP = 25
CLASSIFIED, CRITICISED, OFFENSIVE = 0.25, 0.04, 0.02
"""Of the cases: whose first message is classified, whose answer is criticised; a judge is asked about language."""


@dataclass
class Lessons:
    """Makes rows without end; ``dropped`` counts the cases that could not be made or played, by why."""

    project: Project
    agent: str
    seed: int
    examples: bool = True
    dropped: Counter[str] = field(default_factory=Counter)

    async def rows(self) -> AsyncGenerator[dict[str, Any], None]:
        """Rows in the tuner's format, with ``source`` and ``intent``."""
        random = Random(self.seed)
        folder, spec = self.project.folder, self.project.agent(self.agent)
        policy = self.project.policy_of(spec).document
        spec = spec if self.examples else spec.model_copy(update={"examples": ()})
        phrases, intents = Phrases.read(folder), Intents.read(folder)
        judging = Judging(folder, policy.constitution.principles, phrases, random)
        with TemporaryDirectory(prefix="flightloop-lessons-") as home:
            stage = Stage(self.project, spec, Path(home))
            while True:
                reseed(stage.data / FILE, _recipe(random))
                for _ in range(CASES_OF_A_SHOP):
                    played = await self._case(stage, Desk(stage.data, phrases, random, _language(random)))
                    for row in [*played.rows, *await self._beside(played, intents, judging, random)]:
                        yield row

    def messages(self) -> Generator[dict[str, Any], None, None]:
        """Messages alone with their intent, without end and as many of each; no run is played."""
        random = Random(self.seed)
        phrases, intents = Phrases.read(self.project.folder), Intents.read(self.project.folder)
        with TemporaryDirectory(prefix="flightloop-lessons-") as home:
            data = Path(home)
            wordings = {intent: _shuffled(phrases.messages[intent], random) for intent in intents.about}
            while True:
                reseed(data / FILE, _recipe(random))
                for intent in intents.about:
                    desk, wording = Desk(data, phrases, random, ENGLISH), next(wordings[intent])
                    slots = {**desk.order().slots, "address": desk.address()}
                    yield _classified(intents, desk.voice.say(wording, slots), intent)

    async def _case(self, stage: Stage, desk: Desk) -> _Played:
        maker = desk.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        try:
            case = maker(desk)
            rows = await stage.play(case)
        except (NoSuchOrder, Untold, Unfound, OutOfStep) as error:
            self.dropped[f"{maker.__name__}: {type(error).__name__} {error}"] += 1
            return _Played("", "", [])
        return _Played(case.turns[0].said, case.turns[0].intent or case.intent, rows)

    async def _beside(
        self, played: _Played, intents: Intents, judging: Judging, random: Random
    ) -> list[dict[str, Any]]:
        """Rows of what the model is asked beside a run: the intent of a message, a judge's verdict."""
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
    """All of them, again and again, in another order each time."""
    while True:
        yield from random.sample(wordings, len(wordings))


def _recipe(random: Random) -> Recipe:
    """A shop that is not the tasks' one: other people, other numbers, another day."""
    return Recipe(
        SEED + 1 + random.randrange(1 << 30),
        date(2024, 1, 1) + timedelta(days=random.randrange(1200)),
        random.randrange(1000, 90_000),
        random.choice((random.randrange(11_000, 99_000), random.randrange(100_000, 990_000))),
    )


def _language(random: Random) -> str:
    return random.choice(OTHERS) if random.random() < FOREIGN else ENGLISH
