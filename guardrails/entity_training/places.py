"""Draws of streets, cities, countries and whole addresses."""

from __future__ import annotations

from guardrails.entity_training.numbers import HOME_STREETS, ordinal
from guardrails.entity_training.people import People
from guardrails.entity_training.sources import STREETS, Pieces, cities, countries, pool, state_codes, states, words

_DIRECTIONS = ("N", "S", "E", "W", "North", "South", "East", "West", "N.", "W.", "NW", "Old", "New")


class Places(People):
    """Draws of places."""

    def city(self) -> str:
        chance = self.draw.random()
        if self.language == "zh":
            return self.draw.choice(pool("zh_CN", "city"))
        if self.language != "en" and chance < 0.5:
            return self.draw.choice(pool(HOME_STREETS[self.language][0], "city"))
        if chance < 0.15:
            return self.draw.choice(pool(self.draw.choice(STREETS[:-1]), "city"))
        return self._city_of_the_world()

    def _city_of_the_world(self) -> str:
        one, other = self.draw.choice(cities()), self.draw.choice(cities())
        if self.draw.random() < 0.5:  # large ones are named more often
            one = max(one, other, *self.draw.choices(cities(), k=20), key=lambda city: city[1])
        return one[0]

    def country(self) -> str:
        if self.draw.random() < 0.12:
            return self.draw.choice(
                ("USA", "US", "UK", "U.S.", "England", "Scotland", "Wales", "UAE", "Russia", "Europe")
            )
        return self.draw.choice(countries({"zh": "zh_CN", "fr": "fr_FR"}.get(self.language, self.language)))

    def state(self) -> str:
        return self.draw.choice(states() if self.draw.random() < 0.5 else state_codes())

    def place(self) -> Pieces:
        chance = self.draw.random()
        if chance < 0.35:
            return [(self.city(), "place")]
        if chance < 0.6:
            return [(self.country(), "place")]
        if chance < 0.75:
            return [(self.draw.choice(states()), "place")]
        second = self.state() if self.draw.random() < 0.5 else self.country()
        return [(self.city(), "place"), (", ", None), (second, "place")]

    def street(self) -> Pieces:
        if self.language == "en" and self.draw.random() < 0.55:
            return self._english_street()
        other = self.draw.random() < 0.25 and self.language != "zh"
        locale = self.draw.choice(STREETS[:-1] if other else HOME_STREETS[self.language])
        text = self.draw.choice(pool(locale, "street_address"))
        return [(text.replace("\n", " "), "address")]

    def _english_street(self) -> Pieces:
        draw, kind = self.draw, self.draw.choice(words()["streets"])
        chance = draw.random()
        if chance < 0.03:
            return [(f"{draw.choice(('PO Box', 'P.O. Box', 'Box'))} {self.digits(2, 5)}", "address")]
        if chance < 0.15:
            name = ordinal(draw.randint(1, 120))
        elif chance < 0.5:
            name = draw.choice(words()["street_names"])
        elif chance < 0.85:
            name = draw.choice(self.names().last)
        else:
            name = draw.choice(self.names().first)
        if draw.random() < 0.12:
            name = f"{draw.choice(_DIRECTIONS)} {name}"
        if draw.random() < 0.1:
            name = f"{name} {draw.choice(words()['street_names'])}"
        text = f"{name} {kind}"
        if draw.random() < 0.85:
            text = (
                f"{draw.choice((self.digits(1, 5), self.digits(1, 3), self.digits(1, 3) + draw.choice('ABab')))} {text}"
            )
            if draw.random() < 0.25:
                unit = draw.choice(words()["units"])
                text += f"{draw.choice((' ', ', '))}{unit}{'' if unit == '#' else ' '}{self.digits(1, 3)}"
        return [(text, "address")]

    def address(self) -> Pieces:
        """A street with its place, in the order of the language."""
        draw = self.draw
        between = "\n" if draw.random() < 0.3 else ", "
        if self.language == "en" and draw.random() < 0.75:
            return self._american(between)
        if self.language == "zh":
            return self.street()
        locale = draw.choice(STREETS[1:-1])
        street = (draw.choice(pool(locale, "street_address")), "address")
        code, city = (
            (draw.choice(pool(locale, "postcode")), "postal_code"),
            (draw.choice(pool(locale, "city")), "place"),
        )
        if locale == "en_GB":
            return [street, (between, None), city, (between, None), code]
        country: Pieces = [(between, None), (self.country(), "place")] if draw.random() < 0.3 else []
        if draw.random() < 0.3:
            return [street, (between, None), city, (draw.choice((" ", ", ")), None), code, *country]
        return [street, (between, None), code, (" ", None), city, *country]

    def _american(self, between: str) -> Pieces:
        draw = self.draw
        city = draw.choice(pool("en_US", "city")) if draw.random() < 0.3 else self.city()
        pieces: Pieces = [*self._english_street(), (between, None), (city, "place")]
        if draw.random() < 0.85:
            pieces += [(draw.choice((", ", ", ", " ")), None), (self.state(), "place")]
        if draw.random() < 0.8:
            pieces += [(" ", None), (self.digits(5, 5), "postal_code")]
            if draw.random() < 0.15:
                pieces[-1] = (f"{pieces[-1][0]}-{self.digits(4, 4)}", "postal_code")
        if draw.random() < 0.2:
            pieces += [(between, None), (draw.choice(("USA", "United States", "US", self.country())), "place")]
        return pieces

    def postcode(self) -> str:
        chance = self.draw.random()
        if chance < 0.5 or self.language != "en":
            return self.digits(6, 6) if self.language == "zh" else self.digits(5, 5)
        return self.draw.choice(pool(self.draw.choice(STREETS[:-1]), "postcode"))
