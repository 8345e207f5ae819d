"""Draws of names of people, their titles and their jobs."""

from __future__ import annotations

import string
from functools import cache

from guardrails.entity_training.numbers import Numbers
from guardrails.entity_training.sources import Names, Pieces, names, pool, words

_HOME: dict[str, tuple[str, ...]] = {
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR", "fr_BE", "fr_CH"),
    "es": ("es_ES", "es_MX", "es_AR"),
    "zh": ("zh_CN", "zh_TW"),
}
_ENGLISH = ("en_US", "en_US", "en_US", "en_GB", "en_IE", "en_NZ", "en_IN", "en")
_PARTICLES = ("van", "van der", "de", "de la", "von", "di", "da", "al", "el", "bin", "ter", "le")


@cache
def _at_home(language: str) -> tuple[str, ...]:
    return tuple(locale for locale in _HOME.get(language, _ENGLISH) if locale in names())


@cache
def _abroad() -> tuple[str, ...]:
    return tuple(locale for locale in names() if not locale.startswith("zh"))


class People(Numbers):
    """Draws of people."""

    def names(self) -> Names:
        """Names of one people."""
        at_home = self.language == "zh" or self.draw.random() < 0.55
        return names()[self.draw.choice(_at_home(self.language) if at_home else _abroad())]

    def first(self) -> str:
        return self.draw.choice(self.names().first)

    def last(self) -> str:
        found, chance = self.draw.choice(self.names().last), self.draw.random()
        if self.language == "zh":
            return found
        if chance < 0.03:
            return f"{found}-{self.draw.choice(self.names().last)}"
        if chance < 0.06:
            return f"{self.draw.choice(_PARTICLES)} {found}"
        if chance < 0.08:
            return f"{self.draw.choice(('O’', 'Mc', 'Mac', 'D’', 'O' + chr(39)))}{found}"
        return found

    def name(self) -> Pieces:
        origin = self.names()
        first, last, chance = self.draw.choice(origin.first), self.draw.choice(origin.last), self.draw.random()
        if self.language == "zh":
            return [(last + first, "person")]
        if chance < 0.12:
            return [(f"{first} {self.draw.choice(string.ascii_uppercase)}. {last}", "person")]
        if chance < 0.17:
            return [(f"{first} {self.draw.choice(origin.first)} {last}", "person")]
        if chance < 0.2:
            return [(f"{self.draw.choice(string.ascii_uppercase)}. {last}", "person")]
        if chance < 0.24:
            return [(first, "person")]
        if chance < 0.32:
            return [*self.title(), (" ", None), (f"{first} {last}", "person")]
        if chance < 0.37:
            return [(f"{first} {self.last()}", "person")]
        if chance < 0.4:
            return [
                (f"{first} {last}", "person"),
                (self.draw.choice((" ", ", ")), None),
                (self.one_of("titles", "after"), "title"),
            ]
        return [(f"{first} {last}", "person")]

    def title(self) -> Pieces:
        language = "world" if self.draw.random() < 0.08 else self.language
        return [(self.draw.choice(words()["titles"].get(language, ["Dr."])), "title")]

    def job(self) -> Pieces:
        """A job; in capitals it is a title."""
        draw, chance = self.draw, self.draw.random()
        if chance < 0.4:
            return [(draw.choice(words()["jobs"]), None)]
        if chance < 0.7:
            return [(draw.choice(pool("en_US", "job")), "title")]
        rank, field = draw.choice(words()["ranks"]), draw.choice(words()["fields"])
        text = draw.choice((f"{rank} of {field}", f"{field} {rank}", f"{field} {rank}", f"Senior {field} {rank}", rank))
        return [(text, "title")]
