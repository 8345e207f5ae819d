"""Whether a value stands in somebody's words: the origin check of arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from guardrails.rails.found import leaves
from guardrails.rails.normalise import normalise, unescaped

_NUMBER = regex.compile(r"(?<![\w.,])[-+]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\w])|(?<![\w])[-+]?\d+(?:[.,]\d+)?(?!\w)")
_PARTS = regex.compile(r"[,;\n]+")
EMAIL = regex.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_EXACT = regex.compile(
    r"https?://[^\s<>\"')\]]+|[^\s<>\"'(),;:]*@[^\s<>\"'(),;]+|(?<![\w.@-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?:[:/][^\s<>\"')\]]*)?"
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
    """Whether every string and number of a JSON value occurs in one of the sources.

    A text with commas or line breaks (a street) may stand there in another order of its parts; each part's words must
    stand together, whatever is between them. E-mail addresses, links and names of hosts must stand there sign by sign.
    """
    texts = list(sources)
    haystacks = [_Words.of(text) for text in texts]
    return all(_leaf_stands(leaf, texts, haystacks) for leaf in leaves(value if value is not None else ""))


def _leaf_stands(leaf: str, texts: list[str], haystacks: list[_Words]) -> bool:
    number = number_of(leaf)
    if number is not None and any(number in numbers_in(text) for text in texts):
        return True
    if not leaf.strip():
        return True
    needles = [_Words.of(part) for part in _PARTS.split(leaf)]
    needles = [needle for needle in needles if needle.plain.strip()]
    return bool(needles) and any(all(needle.stands_in(haystack) for needle in needles) for haystack in haystacks)


@dataclass(frozen=True)
class _Words:
    """``plain``: between two blanks. ``exact``: what would be something else with one sign changed."""

    plain: str
    exact: frozenset[str]

    @classmethod
    def of(cls, text: str) -> _Words:
        text = unescaped(text)
        found = _EXACT.findall(normalise(text).casefold())
        return cls(f" {plain(text)} ", frozenset(one.rstrip(_AFTER) for one in found))

    def stands_in(self, other: _Words) -> bool:
        return self.plain in other.plain and self.exact <= other.exact
