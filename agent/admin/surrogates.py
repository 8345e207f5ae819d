"""Surrogates: made-up values of the same kind and format in place of personal data."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping

import regex
from stdnum import luhn

from guardrails.finders.pii import bare

_SEPARATOR = regex.compile(r"[\s()./+-]")
_FIRST = (
    "alex",
    "anna",
    "ben",
    "carla",
    "dario",
    "elif",
    "finn",
    "greta",
    "hugo",
    "ines",
    "jonas",
    "kira",
    "lena",
    "mara",
)
_PREFIX = regex.compile(r"(?:[A-Za-z]+[-_])+|[A-Za-z]{3,4}(?=[A-Za-z0-9]{8})")
_PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nmasked\n-----END PRIVATE KEY-----"
SECRET = "secret"
"""Kind of all values that are credentials instead of personal data."""


def surrogate(kind: str, value: str, draw: random.Random) -> str:
    """A random value of the same kind. Identifying prefixes are preserved: a card's first digits, an IBAN's country,
    a key's prefix.

    The surrogate is not computed from the value, so that the value can't be found by trial.

    Args:
        kind: label of a finding of `guardrails.finders.pii`, or `SECRET`.
        value: the value as written at its first occurrence.
        draw: the row's random source.
    """
    return _MADE.get(kind, _scrambled)(value, draw)


def laid_out(made: str, written: str) -> str:
    """Formats a surrogate like one occurrence of the value, with its separators and capitals."""
    if "@" in written or len(bare(written)) != len(made):
        return made
    signs = iter(made)
    return "".join(sign if _SEPARATOR.fullmatch(sign) else _cased(next(signs), sign) for sign in written)


def occurrences(value: str, kind: str) -> regex.Pattern[str]:
    """Pattern that matches a value in all its formats."""
    if kind == SECRET:
        return regex.compile(rf"(?<![\w-]){regex.escape(value)}" if value[0].isalnum() else regex.escape(value))
    if "@" in value:
        return regex.compile(rf"(?<![\w.+%-]){regex.escape(value)}(?![\w-])", regex.IGNORECASE)
    inner = r"[\s()./+-]{0,2}".join(map(regex.escape, bare(value)))
    return regex.compile(rf"(?<![^\W_])\+?\(?{inner}(?![^\W_])", regex.IGNORECASE)


def _cased(made: str, written: str) -> str:
    return made.upper() if written.isupper() else made.lower() if written.islower() else made


def _email(value: str, draw: random.Random) -> str:
    return f"{draw.choice(_FIRST)}.{draw.choice(string.ascii_lowercase)}{draw.randint(100, 9999)}@example.com"


def _card(value: str, draw: random.Random) -> str:
    digits = bare(value)
    # The first two digits identify the issuer; the last one is the check digit.
    body = digits[:2] + "".join(draw.choice(string.digits) for _ in digits[2:-1])
    return body + str(luhn.calc_check_digit(body))


def _iban(value: str, draw: random.Random) -> str:
    plain = bare(value).upper()
    body = "".join(_other(sign, draw) for sign in plain[4:])
    number = "".join(str(int(sign, 36)) for sign in body + plain[:2] + "00")
    return f"{plain[:2]}{98 - int(number) % 97:02d}{body}"


def _secret(value: str, draw: random.Random) -> str:
    if "PRIVATE KEY" in value:
        return _PRIVATE_KEY
    prefix = _PREFIX.match(value)
    kept = prefix.group() if prefix and len(prefix.group()) < len(value) / 2 else ""
    return kept + "".join(_other(sign, draw) for sign in value[len(kept) :])


def _scrambled(value: str, draw: random.Random) -> str:
    plain = bare(value)
    # The first digit stays, because an integer must not begin with 0.
    return plain[:1] + "".join(_other(sign, draw) for sign in plain[1:])


def _other(sign: str, draw: random.Random) -> str:
    if sign in string.digits:
        return draw.choice(string.digits)
    if sign in string.ascii_letters:
        return draw.choice(string.ascii_lowercase if sign.islower() else string.ascii_uppercase)
    return sign


_MADE: Mapping[str, Callable[[str, random.Random], str]] = {
    "email": _email,
    "card": _card,
    "iban": _iban,
    SECRET: _secret,
}
