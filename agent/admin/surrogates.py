"""Surrogates: made-up data in place of personal data, of the same kind and in the same writing."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping

import regex
from stdnum import luhn

from guardrails.rails.pii import bare

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
"""The kind of all that is not personal data but a credential."""


def surrogate(kind: str, value: str, draw: random.Random) -> str:
    """Another value of the kind; what tells the kind (a card's first digit, an IBAN's country, a key's prefix) stays.

    It is drawn, not computed from the value: nobody can try values out on it.

    Args:
        kind: label of a finding of guardrails.rails.pii, or ``SECRET``.
        value: as it was written the first time.
        draw: of the row.
    """
    return _MADE.get(kind, _scrambled)(value, draw)


def laid_out(made: str, written: str) -> str:
    """A surrogate in the writing of one occurrence: blanks, brackets and capitals stand where they stood."""
    if "@" in written or len(bare(written)) != len(made):
        return made
    signs = iter(made)
    return "".join(sign if _SEPARATOR.fullmatch(sign) else _cased(next(signs), sign) for sign in written)


def occurrences(value: str, kind: str) -> regex.Pattern[str]:
    """Where a value stands in a text, however it is written."""
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
    # Two digits keep what tells the issuer; the last one makes the check hold.
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
    # A first digit of a number in a number would be lost if it were 0.
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
