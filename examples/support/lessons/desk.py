"""The shop as lessons use it: orders in the required state, and texts of customers and of the agent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from flightloop.lessons import NoCase

from ..shop.database import FILE
from .phrases import Phrases, fields_of
from .voice import Voice

SHORT = {
    "Trail Backpack 30L": "backpack",
    "Steel Water Bottle": "water bottle",
    "Cotton Bed Linen": "bed linen",
    "Glass Food Boxes": "food boxes",
    "Board Game Harbour": "board game",
    "Puzzle 1000 Pieces": "puzzle",
    "USB-C Charger": "charger",
    "Cast Iron Pan": "pan",
    "Wall Clock": "wall clock",
}
"""Everyday names of products whose last word alone doesn't name them."""
BETWEEN, AND = {"zh": "、"}, {"en": " and ", "de": " und ", "es": " y ", "fr": " et ", "zh": "和"}
"""Between the parts of a list, in other languages than those with commas, and before its last part."""
SELECT = """SELECT o.id, c.name, c.email, p.name, o.total_cents,
    (SELECT COUNT(*) FROM orders x WHERE x.customer_id = o.customer_id) FROM orders o
  JOIN customers c ON c.id = o.customer_id
  JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id
  LEFT JOIN deliveries d ON d.order_id = o.id
  WHERE i.product_id = (SELECT MIN(product_id) FROM order_items WHERE order_id = o.id) AND """


class NoSuchOrder(NoCase):
    """The shop has no order that meets the condition."""


@dataclass(frozen=True)
class Order:
    """An order. ``item``: everyday name of a product in it. ``siblings``: number of orders of its customer."""

    number: int
    name: str
    email: str
    item: str
    cents: int
    siblings: int = 1

    @property
    def slots(self) -> dict[str, Any]:
        return {"number": self.number, "name": self.name, "email": self.email, "item": self.item}


@dataclass
class Desk:
    """Shop, phrases and randomness for making one case. ``language`` is the customer's."""

    data: Path
    phrases: Phrases
    random: Random
    language: str
    asked: set[str] = field(default_factory=set)
    """Slots of the wording that the latest `ask` chose."""

    def order(self, where: str = "1") -> Order:
        """A random order that meets a SQL condition on ``o`` (orders), ``d`` (deliveries), ``i`` and ``p`` (its
        first product).

        Raises:
            NoSuchOrder: no order meets the condition.
        """
        with self.shop() as shop:
            rows = shop.execute(f"{SELECT} ({where})").fetchall()
        if not rows:
            raise NoSuchOrder(f"no order meets {where}")
        number, name, email, title, cents, siblings = self.random.choice(rows)
        return Order(number, name, email, self.plain(title), cents, siblings)

    def unknown(self) -> Order:
        """An order whose number doesn't exist in the shop."""
        some = self.order()
        with self.shop() as shop:
            last = shop.execute("SELECT MAX(id) FROM orders").fetchone()[0]
        return Order(last + self.random.randint(1, 9000), some.name, some.email, some.item, some.cents)

    def change(self, sql: str, *values: Any) -> None:
        """Executes SQL that puts the shop into the state that a case needs."""
        with self.shop() as shop:
            shop.execute(sql, values)

    @contextmanager
    def shop(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.data / FILE, isolation_level=None)
        try:
            yield database
        finally:
            database.close()

    def plain(self, title: str) -> str:
        """An everyday name of a product."""
        name = title.removeprefix("Clearance ")
        if self.chance(0.5):
            return SHORT.get(name, name.rsplit(" ", 1)[-1].lower())
        return " ".join(word if word[1:].lower() != word[1:] else word.lower() for word in name.split())

    def address(self) -> str:
        return f"{self.random.randint(1, 180)} {self.one_of('streets')}, {self.one_of('towns')}"

    def one_of(self, scenery: str) -> str:
        return self.random.choice(self.phrases.scenery[scenery])

    def ask(self, intent: str, kind: str, slots: dict[str, Any]) -> str:
        """A customer's message. Raises Untold if there is no wording for it."""
        wording = self.random.choice(self.phrases.wordings(self.language, intent, kind))
        self.asked = fields_of(wording)
        return self.voice.say(wording, slots, self.phrases.reasons(self.language, intent))

    @property
    def voice(self) -> Voice:
        return Voice(self.random, self.phrases, self.language)

    def say(self, *path: str, **slots: Any) -> str:
        """The agent's text. Raises Untold if there is no wording for it."""
        return self.phrases.answer(self.random, self.language, path, slots)

    def named(self, word: str) -> str:
        """A status or a way of paying as it is called in the customer's language."""
        return str(self.phrases.answers["names"].get(self.language, {}).get(word, word))

    def goal(self, name: str, **slots: Any) -> str:
        return self.phrases.goal(name, **slots)

    @property
    def between(self) -> str:
        """Stands between the parts of a list."""
        return BETWEEN.get(self.language, ", ")

    def joined(self, parts: Sequence[str]) -> str:
        """Joins parts like ``a, b and c``, in the customer's language."""
        return f"{self.between.join(parts[:-1])}{AND[self.language]}{parts[-1]}" if len(parts) > 1 else "".join(parts)

    def chance(self, share: float) -> bool:
        return self.random.random() < share
