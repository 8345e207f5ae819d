"""Makes the tagger's word lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import regex

from guardrails.entities.lexicon import Lexicon, WordList
from guardrails.entity_training.sources import cities, companies, countries, names, pool, states, templates, words

_WORD = regex.compile(r"\p{L}[\p{L}\p{M}'’]*")
_CALENDAR = """january february march april may june july august september october november december jan feb mar apr jun
jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun januar
februar märz mai juni juli oktober dezember janvier février avril juin juillet août septembre octobre novembre décembre
enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre 年 月 日"""
_SMALL = frozenset(
    ["of", "the", "and", "de", "la", "le", "les", "el", "los", "las", "da", "do", "du", "des", "di", "del", "von",
     "van", "der", "den", "und", "y", "e", "et", "a", "an", "in", "on", "am"]
)  # fmt: skip
LEAST_POPULATION = 60_000
LEAST_COMMON = 3
"""Occurrences in lower case that make a word common."""


def lexicon(common: Sequence[str]) -> Lexicon:
    """The lists. ``common``: frequent words."""
    found: dict[str, int] = {}

    def add(on: WordList, every: Iterable[str]) -> None:
        for text in every:
            for word in _parts(text):
                found[word] = found.get(word, 0) | on

    for locale, known in names().items():
        add(WordList.FIRST_NAME, known.first)
        add(WordList.LAST_NAME, (one[:1] for one in known.last) if locale.startswith("zh") else known.last)
    add(WordList.CITY, (name for name, population in cities() if population >= LEAST_POPULATION))
    add(WordList.CITY, pool("zh_CN", "city"))
    for language in ("en", "de", "fr_FR", "es"):
        add(WordList.COUNTRY, countries(language))
    add(WordList.COUNTRY, (*states(), "England", "Scotland", "Wales", "Europe"))
    add(WordList.NATIONALITY, (*words()["nationalities"], *words()["plural_nationalities"]))
    add(WordList.STREET, words()["streets"])
    add(WordList.STREET, words()["foreign_streets"])
    add(WordList.ORGANIZATION, (*words()["organization_endings"], *words()["organization_nouns"]))
    add(WordList.CALENDAR, _CALENDAR.split())
    add(WordList.TITLE, (one for titles in words()["titles"].values() for one in titles))
    add(WordList.COMMON, common)
    ordinary = frozenset(common)
    for text in (*companies(), *words()["organizations"]):
        add(WordList.COMPANY, (part for part in _parts(text) if part not in ordinary))
    return Lexicon.of(found)


def common_words(prose: Iterable[str]) -> Iterator[str]:
    """Words that mostly occur in lower case, in the prose or in the templates without slots."""
    lower: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for text in prose:
        found = _WORD.findall(text)
        every.update(word.lower() for word in found)
        lower.update(word for word in found if word.islower())
    yield from (word for word, count in lower.items() if count >= max(LEAST_COMMON, 0.6 * every[word]))
    for language in ("en", "de", "fr", "es"):
        for text in templates(f"{language}_plain"):
            yield from (word for word in _WORD.findall(regex.sub(r"\{\w+\}", "", text)) if word.islower())


def _parts(text: str) -> Iterator[str]:
    parts = _WORD.findall(text.lower())
    yield from (part for part in parts if len(parts) == 1 or (part not in _SMALL and len(part) > 1))
