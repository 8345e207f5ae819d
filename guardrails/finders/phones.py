"""Reads phone numbers as they are dialled, and tells which of them are the same phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import regex

from guardrails.finders.pattern import not_after
from guardrails.finders.pii import GAP, NO_PHONE
from guardrails.text.spelling import compatible

SCHEME, WA_ME = r"(?:tel|sms|smsto|callto|facetime)(?::|&colon;|%3a)(?://)?", r"wa\.me/"
LEAST_DIGITS = 7
"""Shorter numbers without a country code belong to many phones."""
_CODE = regex.compile(
    r"\+(?:1|7|2(?:0|1[12368]|[2346]\d|5[0-8]|7|9[01789])|3(?:[0-469]|[57]\d|8[0-35-79])|4(?:[013-9]|2[013])"
    r"|5(?:[1-8]|[09]\d)|6(?:[0-6]|7[02-9]|8[0-35-9]|9[0-2])|8(?:[1246]|5[02356]|8[06])"
    r"|9(?:[0-58]|6[0-8]|7[0-7]|9[2-68]))"
)
"""Country calling codes that are assigned (ITU-T E.164, list of country codes). None begins another. Numbers of
satellites and international services have no national form, so their codes are left out."""
_WA_ME = regex.compile(WA_ME, regex.IGNORECASE)
_BEFORE = regex.compile(rf"^(?:{SCHEME}|{WA_ME})?[ (]*", regex.IGNORECASE)
_AMERICAN = regex.compile(r"1\D+[2-9](?:\D*\d){9}\D*")
_RUN = regex.compile(rf"(?<![\d+])\+?\d(?:{GAP}\d){{5,17}}(?!\d)")
_BARE = regex.compile(not_after(r"a-z\d_.+/-") + r"\d{9,15}(?![a-z\d_/-]|\.\d)", regex.IGNORECASE)


def digits_of(form: str) -> str:
    """Digits of a phone number as they are dialled.

    ``+`` and all digits if it has a country code, 0 and the digits behind it if it begins with 0. Else only the digits,
    which may or may not begin with a country code.
    """
    text = compatible(form)
    dialled = regex.split("[?&#;]", _BEFORE.sub("", text), maxsplit=1)[0]
    digits = regex.sub(r"\D", "", dialled)
    abroad = dialled.startswith("+") or _AMERICAN.fullmatch(dialled) or _WA_ME.match(text)
    if abroad or regex.match("00[1-9]", digits):
        return "+" + regex.sub(r"\(0\)|\D", "", dialled).lstrip("0")  # nobody dials the (0) of +49 (0)30 from abroad
    return _national(digits) if digits.startswith("0") else digits


def bare_numbers(text: str) -> Iterator[str]:
    """Digits in one piece that are long enough for a phone number, such as a number in a field of a record."""
    return (digits_of(match.group()) for match in _BARE.finditer(compatible(text)))


def digit_runs(text: str) -> Iterator[str]:
    """Digits of all numbers in a text that may be phone numbers, however they are grouped; but no dates.

    What stands before a number may look like a group of it, so there is a run from each group on.
    """
    runs = (match.group() for match in _RUN.finditer(compatible(text), overlapped=True))
    return (digits_of(run) for run in runs if not NO_PHONE.match(run))


@dataclass(frozen=True)
class Phones:
    """Phone numbers, as ``digits_of`` returns them. All ways to write one of them are ``in`` it."""

    numbers: frozenset[str] = frozenset()

    def __or__(self, other: Phones) -> Phones:
        return Phones(self.numbers | other.numbers)

    def __sub__(self, other: Phones) -> Phones:
        return Phones(frozenset(number for number in self.numbers if number not in other))

    def __contains__(self, number: str) -> bool:
        dialled = _readings(number)
        return not (
            self._dialled.isdisjoint(dialled)
            and self._at_home.isdisjoint(dialled)
            and self._dialled.isdisjoint(_without_code(dialled))
        )

    @cached_property
    def _dialled(self) -> frozenset[str]:
        return frozenset(chain.from_iterable(map(_readings, self.numbers)))

    @cached_property
    def _at_home(self) -> frozenset[str]:
        return frozenset(_without_code(self._dialled))


NO_PHONES = Phones()


def _national(digits: str) -> str:
    return "0" + digits.lstrip("0")


def _readings(number: str) -> tuple[str, ...]:
    """A number with its country code and one without it, if it may be either."""
    return (number,) if number.startswith(("+", "0")) else (f"+{number}", _national(number))


def _without_code(numbers: tuple[str, ...] | frozenset[str]) -> Iterator[str]:
    """National forms of the numbers that have a country code. Some countries keep the 0 behind it, as Italy does."""
    for number in numbers:
        code = _CODE.match(number)
        if code and len(number) - code.end() >= LEAST_DIGITS:
            yield _national(number[code.end() :])
