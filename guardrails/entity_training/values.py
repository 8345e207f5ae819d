"""Values for the slots of templates: pieces of text, each with the entity that it is, if any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from guardrails.entity_training.numbers import DAYS
from guardrails.entity_training.places import Places
from guardrails.entity_training.sources import STREETS, Pieces, companies, pool, words


@dataclass
class Values(Places):
    """Draws a value for each slot."""

    _makers: dict[str, Callable[[], Pieces]] = field(init=False)

    def __post_init__(self) -> None:
        texts = {
            "first": (self.first, "person"),
            "last": (self.last, "person"),
            "initial": (lambda: self.letters(1), "person"),
            "after": (lambda: self.one_of("titles", "after"), "title"),
            "org": (self.organization, "organization"),
            "city": (self.city, "place"),
            "country": (self.country, "place"),
            "state": (self.state, "place"),
            "nat": (self._nationality, "nationality"),
            "nats": (lambda: self.one_of("plural_nationalities"), "nationality"),
            "date": (self.date, "date"),
            "day": (lambda: self.draw.choice(DAYS), "date"),
            "month": (self.month, "date"),
            "year": (lambda: str(self.draw.randint(1900, 2030)), "date"),
            "time": (self.time, "date"),
            "age": (lambda: str(self.draw.randint(1, 99)), "age"),
            "zip": (self.postcode, "postal_code"),
            "phone": (self.phone, "local_phone"),
            "doc": (self.document, "document"),
            "email": (lambda: f"{self._plain()}{self.digits(0, 3)}@mail.example", None),
            "url": (lambda: f"www.{self._plain()}.example", None),
            "card": (lambda: " ".join(self.digits(4, 4) for _ in range(4)), None),
            "iban": (
                lambda: f"DE{self.digits(2, 2)} {self.digits(4, 4)} {self.digits(4, 4)} {self.digits(4, 4)}",
                None,
            ),
            "ssn": (lambda: f"{self.digits(3, 3)}-{self.digits(2, 2)}-{self.digits(4, 4)}", None),
            "ip": (lambda: ".".join(str(self.draw.randint(1, 254)) for _ in range(4)), None),
            "order": (self.order, None),
            "flight": (lambda: self.letters(2) + self.digits(2, 4), None),
            "user": (lambda: self._plain() + self.digits(2, 4), None),
            "number": (self.number, None),
            "amount": (self.amount, None),
            "product": (lambda: self.one_of("products"), None),
        }
        self._makers = {slot: partial(self._piece, make, entity) for slot, (make, entity) in texts.items()}
        whole = {"name": self.name, "title": self.title, "job": self.job, "street": self.street}
        self._makers |= whole | {"address": self.address, "place": self.place}

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(self._makers)

    def of(self, slot: str) -> Pieces:
        """A value for a slot. Raises KeyError: no such slot."""
        return self._makers[slot]()

    def _piece(self, make: Callable[[], str], entity: str | None) -> Pieces:
        return [(make(), entity)]

    def _nationality(self) -> str:
        found = self.one_of("nationalities")
        return found.lower() if self.draw.random() < 0.08 else found

    def _plain(self) -> str:
        return self.first().lower().replace(" ", ".")

    def organization(self) -> str:
        draw, chance = self.draw, self.draw.random()
        if self.language == "zh":
            return draw.choice(pool("zh_CN", "company"))
        if chance < 0.3:
            return str(draw.choice(words()["organizations"] if draw.random() < 0.6 else companies()))
        if chance < 0.4:
            pattern = str(draw.choice(words()["organization_patterns"]))
            return pattern.format(city=self.city(), country=self.country(), first=self.first())
        if chance < 0.6:
            locale = "en_US" if draw.random() < 0.4 else draw.choice(STREETS[:-1])
            return draw.choice(pool(locale, "company"))
        base = draw.choice(
            (self.last(), self.city(), draw.choice(words()["street_names"]), self.letters(3), self._coined())
        )
        if chance < 0.8:
            return f"{base} {draw.choice(words()['organization_nouns'])}"
        if chance < 0.95:
            return f"{base} {draw.choice(words()['organization_endings'])}"
        return self._coined()

    def _coined(self) -> str:
        parts = self.draw.choices(
            ("tra", "net", "lo", "vi", "sys", "max", "ka", "pro", "zen", "ori", "bel", "tec", "qua"), k=2
        )
        return "".join(parts).capitalize() + self.draw.choice(("", "", "a", "ix", "on", "Soft", "Tech", "io"))
