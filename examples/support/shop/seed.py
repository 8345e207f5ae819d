"""The seeded shop: the same customers, orders and deliveries every time, or others from another recipe.

Uses only ``random.Random.random``, because Python keeps its sequence the same between versions.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from flightloop.receipts import create_table

from . import names

SCHEMA = Path(__file__).parent / "schema.sql"
SEED = 20260301
TODAY = date(2026, 3, 1)
CUSTOMERS = 300
ORDERS = 900
FIRST_CUSTOMER, FIRST_ORDER = 2001, 10001
SETTINGS = {"currency": "EUR", "return_days": "30", "refund_limit_cents": "20000"}

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """Parameters of a seeded shop. The tasks are written for the default ones."""

    seed: int = SEED
    today: date = TODAY
    first_customer: int = FIRST_CUSTOMER
    first_order: int = FIRST_ORDER


THE_SHOP = Recipe()


def reseed(path: Path, recipe: Recipe = THE_SHOP) -> None:
    """Writes a freshly seeded shop to ``path`` in one transaction: readers see either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(":memory:")) as fresh, closing(sqlite3.connect(path, timeout=30)) as target:
        fresh.deserialize(_image(recipe))
        fresh.backup(target, sleep=0.01)


@lru_cache(maxsize=1)
def _image(recipe: Recipe) -> bytes:
    """The seeded database as SQLite's file format."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA.read_text(encoding="utf-8"))
        create_table(database)
        _Seeder(database, recipe).fill()
        database.commit()
        return bytes(database.serialize())


class _Seeder:
    def __init__(self, database: sqlite3.Connection, recipe: Recipe) -> None:
        self._database = database
        self._recipe = recipe
        self._random = random.Random(recipe.seed)

    def fill(self) -> None:
        self._insert("settings", [("today", self._recipe.today.isoformat()), *SETTINGS.items()])
        products = [
            (number, name, kind, cents, self._number(5, 200), warranty, final)
            for number, (name, kind, cents, warranty, final) in enumerate(names.PRODUCTS, start=101)
        ]
        self._insert("products", products)
        homes = self._customers()
        first = self._recipe.first_order
        for number in range(first, first + ORDERS):
            customer = self._recipe.first_customer + self._number(0, CUSTOMERS - 1)
            self._order(number, customer, homes[customer])

    def _customers(self) -> dict[int, str]:
        people, addresses, homes = [], [], {}
        taken: set[str] = set()
        first = self._recipe.first_customer
        for number in range(first, first + CUSTOMERS):
            name = self._unused_name(taken)
            email = f"{name.lower().replace(' ', '.')}@example.com"
            phone = f"+49 30 {self._number(1000000, 9999999)}"
            people.append((number, name, email, phone, self._day(self._recipe.today, 40, 1500)))
            homes[number] = self._address()
            addresses.append((number, "home", homes[number]))
            if self._chance(0.25):
                addresses.append((number, "work", self._address()))
        self._insert("customers", people)
        self._insert("addresses", [(index, *row) for index, row in enumerate(addresses, start=1)])
        return homes

    def _order(self, number: int, customer: int, address: str) -> None:
        status = self._pick(("processing",) * 4 + ("shipped",) * 4 + ("delivered",) * 11 + ("cancelled",))
        placed = {
            "processing": lambda: self._number(0, 2),
            "shipped": lambda: self._number(3, 9),
            "delivered": lambda: self._number(8, 120),
            "cancelled": lambda: self._number(5, 120),
        }[status]()
        placed_on = self._recipe.today - timedelta(days=placed)
        shipped_on = placed_on + timedelta(days=self._number(1, 2)) if status in ("shipped", "delivered") else None
        delivered_on = shipped_on + timedelta(days=self._number(1, 5)) if shipped_on and status == "delivered" else None
        items = self._items(number)
        total = sum(quantity * cents for _, _, quantity, cents in items)
        note = self._pick(names.NOTES) if self._chance(0.15) else ""
        payment = self._pick(("card", "card", "paypal", "invoice", "gift card"))
        days = [day.isoformat() if day else None for day in (placed_on, shipped_on, delivered_on)]
        self._insert("orders", [(number, customer, status, *days, address, total, payment, note)])
        self._insert("order_items", items)
        if shipped_on:
            self._delivery(number, status, shipped_on, delivered_on, address)
        self._aftermath(number, status, delivered_on or placed_on, total)

    def _items(self, order: int) -> list[tuple[int, int, int, int]]:
        count = self._pick((1, 1, 1, 2, 2, 3))
        chosen: dict[int, int] = {}
        while len(chosen) < count:
            index = self._number(0, len(names.PRODUCTS) - 1)
            chosen.setdefault(index, self._pick((1, 1, 1, 1, 2)))
        return [(order, 101 + index, quantity, names.PRODUCTS[index][2]) for index, quantity in chosen.items()]

    def _delivery(self, order: int, status: str, shipped: date, delivered: date | None, address: str) -> None:
        state = "delivered"
        expected = delivered or shipped + timedelta(days=self._number(2, 6))
        if status == "shipped":
            late = expected < self._recipe.today
            state = (
                self._pick(("delayed", "delayed", "lost")) if late else self._pick(("in transit", "out for delivery"))
            )
            if state == "delayed":
                expected = self._recipe.today + timedelta(days=self._number(1, 4))
            elif state == "out for delivery":
                expected = self._recipe.today
        city = address.rsplit(", ", 1)[1].rsplit(" ", 1)[0]
        place = {"delivered": city, "out for delivery": city, "lost": "unknown"}.get(state, "")
        place = place or self._pick(names.CITIES).rsplit(" ", 1)[0]
        tracking = f"{self._pick(('NP', 'SP', 'BV'))}{order}{self._number(100, 999)}"
        carrier = {"NP": names.CARRIERS[0], "SP": names.CARRIERS[1], "BV": names.CARRIERS[2]}[tracking[:2]]
        self._insert("deliveries", [(order, carrier, tracking, state, expected.isoformat(), place)])

    def _aftermath(self, order: int, status: str, since: date, total: int) -> None:
        """Refunds and handovers from before today. A cancelled order was paid back in full."""
        if status == "cancelled":
            self._insert("refunds", [(None, order, total, "order cancelled", since.isoformat())])
        elif status == "delivered" and self._chance(0.06):
            amount = total if self._chance(0.5) else max(100, total // 200 * 100)
            day = min(self._recipe.today, since + timedelta(days=self._number(1, 10)))
            self._insert("refunds", [(None, order, amount, self._pick(names.REFUND_REASONS), day.isoformat())])
        if self._chance(0.02):
            day = min(self._recipe.today, since + timedelta(days=self._number(0, 5)))
            row = (None, order, f"seed-{order}", self._pick(names.HANDOVER_REASONS), day.isoformat(), "done")
            self._insert("handovers", [row])

    def _unused_name(self, taken: set[str]) -> str:
        while True:
            name = f"{self._pick(names.FIRST_NAMES)} {self._pick(names.LAST_NAMES)}"
            if name not in taken:
                taken.add(name)
                return name

    def _address(self) -> str:
        return f"{self._number(1, 99)} {self._pick(names.STREETS)}, {self._pick(names.CITIES)}"

    def _day(self, last: date, least: int, most: int) -> str:
        return (last - timedelta(days=self._number(least, most))).isoformat()

    def _number(self, least: int, most: int) -> int:
        return least + int(self._random.random() * (most - least + 1))

    def _pick(self, choices: Sequence[T]) -> T:
        return choices[self._number(0, len(choices) - 1)]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
