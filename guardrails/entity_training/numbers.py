"""Draws of values that consist of digits: dates, phone numbers, numbers of documents and orders, amounts."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import Any

from guardrails.entity_training.sources import STREETS, pool, words

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
HOME_STREETS: dict[str, tuple[str, ...]] = {
    "en": (*("en_US",) * 6, "en_GB", "en_GB", "en_CA", "en_AU"),
    "de": ("de_DE", "de_AT"),
    "fr": ("fr_FR",),
    "es": ("es_ES", "es_MX"),
    "zh": ("zh_CN",),
}
"""Locales of addresses and phone numbers in each language."""
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def ordinal(number: int) -> str:
    return f"{number}{_ENDINGS.get(number % 10 if number % 100 not in (11, 12, 13) else 0, 'th')}"


@dataclass
class Numbers:
    """Draws in one language."""

    language: str
    draw: random.Random

    def one_of(self, name: str, language: str | None = None) -> str:
        """An entry of a list of ``words.yaml``, or of its part in a language."""
        found: Any = words()[name]
        return str(self.draw.choice(found if language is None else found[language]))

    def digits(self, least: int, most: int) -> str:
        count = self.draw.randint(least, most)
        return "".join(self.draw.choice(string.digits if at else "123456789") for at in range(count))

    def letters(self, count: int) -> str:
        return "".join(self.draw.choices(string.ascii_uppercase, k=count))

    def date(self) -> str:
        day, month, year = self.draw.randint(1, 28), self.draw.randint(1, 12), self.draw.randint(1925, 2030)
        language = self.language if self.language in words()["months"] else "en"
        named = words()["months"][language][month - 1]
        return self.one_of("dates", self.language).format(
            day=day,
            nth=ordinal(day),
            month=month,
            year=year,
            yy=year % 100,
            named=named,
            short=named[:3],
            weekday=self.draw.choice(DAYS),
            time=self.time(),
        )

    def month(self) -> str:
        return self.one_of("months", "en")

    def time(self) -> str:
        hour, minute, half = self.draw.randint(1, 12), self.draw.randint(0, 59), self.draw.choice(("am", "PM", "AM"))
        clock = f"{hour + 11}:{minute:02}"
        short = f"{hour}:{minute:02}"
        return self.draw.choice((short, clock, f"{hour} {half}", f"{short} {half}", f"{clock}:00"))

    def phone(self) -> str:
        draw, chance = self.draw, self.draw.random()
        if self.language == "zh" or (self.language != "en" and chance < 0.6):
            return draw.choice(pool(HOME_STREETS[self.language][0], "phone_number"))
        if chance < 0.35:
            return draw.choice(pool(draw.choice(STREETS), "phone_number"))
        return draw.choice(pool("en_US", "phone_number")) if chance < 0.65 else self._filled("phones")

    def document(self) -> str:
        return self._filled("documents")

    def order(self) -> str:
        number, before = self.digits(4, 15), self.letters(2)
        return self.draw.choice((number, number, f"0{number}", f"#{number}", f"{before}{number}", f"{before}-{number}"))

    def amount(self) -> str:
        return self.one_of("amounts").format(self.draw.randint(1, 3000))

    def number(self) -> str:
        return str(self.draw.randint(2, 99) if self.draw.random() < 0.5 else self.draw.randint(100, 99999))

    def _filled(self, name: str) -> str:
        fill = {"#": string.digits, "?": string.ascii_uppercase}
        return "".join(self.draw.choice(fill[sign]) if sign in fill else sign for sign in self.one_of(name))
