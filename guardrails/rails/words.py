"""Whether a value stands in somebody's words: the origin check of arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import regex

from guardrails.rails.found import leaves
from guardrails.rails.normalise import normalise, unescaped

_NUMBER = regex.compile(r"(?<![\w.,])[-+]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\w])|(?<![\w])[-+]?\d+(?:[.,]\d+)?(?!\w)")
_SHORT = regex.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_PARTS = regex.compile(r"[,;\n]+")
EMAIL = regex.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_EXACT = regex.compile(
    r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?|https?://[^\s<>\"')\]]+|(?<![^\s<>\"'(),;:])[^\s<>\"'(),;:]*@[^\s<>\"'(),;]+|(?<![\w.@-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?:[:/][^\s<>\"')\]]*)?"
)
"""Links, whatever has an @, names of hosts with what follows them."""
_AFTER = ".,;:!?*)]}>\"'"
"""What ends a sentence and no address."""
URL = regex.compile(r"https?://[^\s<>\"')\]]{1,2000}", regex.IGNORECASE)


def plain(text: str) -> str:
    """Lower case, normal form, every run of characters that are not letters or digits as one blank."""
    return " ".join(regex.findall(r"[\w@+]+", normalise(text).casefold()))


def number_of(text: str) -> float | None:
    """The number that a text writes: 1,234.50, 1 234, 12,5. None if it is none, or not finite."""
    cleaned = regex.sub(r"(?<=\d)[,' ](?=\d{3}(?!\d))", "", text.strip())
    try:
        value = float(cleaned.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers_in(text: str) -> set[float]:
    return {value for match in _NUMBER.findall(text) if (value := number_of(match)) is not None}


def stands_in(value: object, sources: Iterable[str]) -> bool:
    """Whether every string and number of a JSON value occurs in one of the sources (`Words.hold`)."""
    known = [Words.of(text) for text in sources]
    return all(any(words.hold(leaf) for words in known) for leaf in leaves(value if value is not None else ""))


@dataclass(frozen=True)
class Words:
    """What somebody said.

    Attributes:
        plain: its words, between two blanks.
        exact: what would be something else with one sign changed: addresses, links, names of hosts.
        numbers: by their values.
    """

    plain: str
    exact: frozenset[str]
    numbers: frozenset[Decimal]

    @classmethod
    def of(cls, text: str) -> Words:
        text = unescaped(text)
        found = _EXACT.findall(normalise(text).lower())
        numbers = map(_short_number, _NUMBER.findall(text))
        return cls(
            plain=f" {plain(text)} ",
            exact=frozenset(one.rstrip(_AFTER) for one in found),
            numbers=frozenset(number for number in numbers if number is not None),
        )

    def hold(self, leaf: str) -> bool:
        """Whether a value stands there.

        A text with commas or line breaks (a street) may stand there in another order of its parts; each part's words
        must stand together, whatever is between them. What is `exact` must stand there sign by sign. A number of up to
        15 digits may be written in another way.
        """
        if (number := _short_number(leaf.strip())) is not None and number in self.numbers:
            return True
        needles = _needles(leaf)
        if not needles:
            return not leaf.strip()
        return all(needle.plain in self.plain and needle.exact <= self.exact for needle in needles)

    def hold_some(self, leaf: str) -> bool:
        """Whether a part of a value stands there, be it with other words between its own: who wrote that part may have
        had it repeated."""
        said = frozenset(self.plain.split())
        return any(said.issuperset(needle.plain.split()) for needle in _needles(leaf))


def _needles(leaf: str) -> list[Words]:
    parts = (Words.of(part) for part in _PARTS.split(leaf))
    return [part for part in parts if part.plain.strip()]


def _short_number(text: str) -> Decimal | None:
    """A number that is an amount and not a name of digits: an account, a card, a code with zeros at its beginning."""
    bare = regex.sub(r"(?<=\d)[,' ](?=\d{3}(?!\d))", "", text).replace(",", ".")
    return Decimal(bare) if _SHORT.fullmatch(bare) and len(regex.findall(r"\d", bare)) <= 15 else None
