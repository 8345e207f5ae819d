"""Entry points of the shop's lessons: the cases with their weights, and the data that they are made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from random import Random

from flightloop.lessons import Case

from ..shop.database import FILE
from ..shop.names import FIRST_NAMES, LAST_NAMES
from ..shop.seed import SEED, Recipe, reseed
from . import goods, orders, refunds, several, talk
from .desk import Desk
from .phrases import CHINESE, ENGLISH, OTHERS, Phrases

AGENT = "support"
CASES: dict[Callable[[Desk], Case], int] = {
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
    talk.rule: 60,
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
SPOKEN = {ENGLISH: 60, CHINESE: 33, **dict.fromkeys(OTHERS, 2)}
"""Frequency of each language, in percent (about). Some cases are told in English only."""


@cache
def phrases() -> Phrases:
    return Phrases.read(Path(__file__).parent)


def seed(data: Path, random: Random) -> None:
    """Creates a shop that differs from the tasks' shop: other people, order numbers and dates."""
    recipe = Recipe(
        SEED + 1 + random.randrange(1 << 30),
        date(2024, 1, 1) + timedelta(days=random.randrange(1200)),
        random.randrange(1000, 90_000),
        random.choice((random.randrange(11_000, 99_000), random.randrange(100_000, 990_000))),
    )
    reseed(data / FILE, recipe)


def begin(data: Path, random: Random) -> Desk:
    """Creates the desk for one case, in a random language."""
    return Desk(data, phrases(), random, random.choices(list(SPOKEN), list(SPOKEN.values()))[0])


def messages() -> Mapping[str, Sequence[str]]:
    return phrases().messages


def say(data: Path, random: Random, wording: str) -> str:
    """A customer's message: the wording with its slots filled, in a random style."""
    language = CHINESE if re.search(r"[\u4e00-\u9fff]", wording) else ENGLISH
    desk = Desk(data, phrases(), random, language)
    slots = {**desk.order().slots, "address": desk.address()}
    return desk.voice.say(wording, slots)


def somebody(random: Random) -> dict[str, str]:
    """A random person, for the slots of sentences in judging.yaml."""
    first, last = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    street, town = (random.choice(phrases().scenery[name]) for name in ("streets", "towns"))
    address = f"{random.randint(1, 150)} {street}, {town}"
    return {"name": f"{first} {last}", "email": f"{first}.{last}@example.com".lower(), "address": address}
