"""The values that a text contains, in any notation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property
from urllib.parse import urlsplit

import regex

from flightloop.provenance import Match
from guardrails.finders.phones import Phones, digit_runs, digits_of
from guardrails.text.calendar_dates import Date, calendar_dates, date_of
from guardrails.text.normalise import normalise, unescaped
from guardrails.text.quantities import amount, has_unread, in_digits, quantities
from guardrails.text.relative_dates import NO_MOMENTS, Moments, moments, weekday_of
from guardrails.text.times import Time, time_of, times
from guardrails.text.words import Value, Words, plain

_TOKEN = regex.compile(r"[a-z0-9]+|[^\W_a-z0-9]+")
_JOINABLE = frozenset(["", " ", "-", "/", ".", "#", " #", ": ", ":", "(", ")", ") ", " (", "_", " - ", "+", " +"])
_MOST_JOINED, _LONGEST_CODE, _LEAST_CODE = 9, 40, 3
_LONG_NUMBER = 9
"""Digits of a number that people write in groups, such as an IBAN."""
_CODE = regex.compile(r"[#\s]*[A-Za-z0-9+(][A-Za-z0-9\s#\-/.()+_]*")
_HOST = regex.compile(r"[A-Za-z]\.[A-Za-z]|@|://")
_LINK = regex.compile(
    r"(?<![\w.@-])(?:https?://|www\.)?(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?::\d+)?(?:[/?#][^\s<>\"')\]]*)?",
    regex.IGNORECASE,
)
_HAN = regex.compile(r"[\p{Han}]{2,}")
_LEADING_ZERO = regex.compile(r"\s*0\d")
"""An account number such as 0000099 is no amount."""
_PHONE = regex.compile(r"[+(]?\d[\d\s()/.+-]{5,24}\d")
_NOT_LONG_AGO = timedelta(days=183)
_LEAP_YEARS = 8
"""Years from one 29 February to the next, at most."""


@dataclass(frozen=True)
class Wanted:
    """A value to look for: a string, or a number with ``number``.

    Attributes:
        identifier: whether it identifies something, so that a number word such as "one" is no mention of it.
    """

    text: str
    number: Decimal | None = None
    identifier: bool = False

    @classmethod
    def of(cls, leaf: str | int | float, *, identifier: bool = False) -> Wanted:
        if isinstance(leaf, str):
            return cls(leaf, identifier=identifier)
        try:
            number = Decimal(str(leaf))
            return cls(str(leaf), number.normalize() if number.is_finite() else None, identifier)
        except InvalidOperation:
            return cls(str(leaf))

    @cached_property
    def amount(self) -> Decimal | None:
        if self.number is not None:
            return self.number
        return None if _LEADING_ZERO.match(self.text) else amount(self.text)

    @cached_property
    def value(self) -> Value:
        return Value.of(self.text)

    @cached_property
    def date(self) -> Date | None:
        return date_of(self.text)

    @cached_property
    def weekday(self) -> int | None:
        return weekday_of(self.text) if self.number is None else None

    @cached_property
    def time(self) -> Time | None:
        """The time of day of a value that is a time, or a date with a time."""
        return time_of(self.text) if self.number is None else None

    @cached_property
    def code(self) -> str | None:
        """Letters and digits of an identifier; None for other values."""
        if not _CODE.fullmatch(self.text) or _HOST.search(self.text):
            return None
        bare = regex.sub(r"[^a-z0-9]", "", self.text.casefold())
        return bare if _LEAST_CODE <= len(bare) <= _LONGEST_CODE and regex.search(r"\d", bare) else None

    @cached_property
    def phone(self) -> str | None:
        text = self.text.strip()
        return digits_of(text) if text.startswith(("+", "0", "(")) and _PHONE.fullmatch(text) else None

    @cached_property
    def link(self) -> str | None:
        return _plain_link(self.text) if _LINK.fullmatch(self.text.strip()) else None


@dataclass(frozen=True)
class Wordings:
    """A text, prepared for looking up values on demand.

    Attributes:
        sparing: whether Chinese numerals count only before a word for what they count.
        now: when the text was written; None: it names no dates by their distance, such as "tomorrow", and a date
            without a year is that of any year.
        with_years: whether dates without a year count for nothing.
    """

    text: str
    sparing: bool = False
    now: datetime | None = None
    with_years: bool = False

    def match(self, wanted: Wanted) -> Match | None:
        """How the text contains a value; None if it does not."""
        if wanted.number is not None:
            return self._number(wanted, wanted.number)
        if not wanted.text.strip():
            return None
        if self._words.hold(wanted.value):
            return Match.EXACT if self._as_written(wanted) else Match.NORMALISED
        return Match.NORMALISED if any(self._forms(wanted)) else None

    def _number(self, wanted: Wanted, number: Decimal) -> Match | None:
        if number not in self._numbers(wanted):
            grouped = wanted.code is not None and len(wanted.code) >= _LONG_NUMBER and self._has_code(wanted.code)
            return Match.NORMALISED if grouped else None
        return Match.EXACT if self._as_written(wanted) else Match.NORMALISED

    def _forms(self, wanted: Wanted) -> Iterator[bool]:
        yield wanted.amount is not None and wanted.amount in self._numbers(wanted)
        yield self.has_date(wanted)
        yield wanted.date is None and self.has_time(wanted)
        yield wanted.code is not None and self._has_code(wanted.code)
        yield wanted.phone is not None and wanted.phone in self._phones
        yield wanted.link is not None and wanted.link in self._links
        yield bool(_HAN.fullmatch(wanted.text)) and wanted.text in self.text

    def has_date(self, wanted: Wanted) -> bool:
        """Whether the text names the day of a value, or a date on its day of the week."""
        if wanted.weekday is not None:
            return wanted.weekday in self._weekdays
        return wanted.date is not None and any(wanted.date.same(date) for date in self._dates)

    def has_time(self, wanted: Wanted) -> bool:
        """Whether the text names the time of day of a value."""
        return wanted.time is not None and wanted.time in self._times

    def _as_written(self, wanted: Wanted) -> bool:
        return f" {plain(wanted.text)} " in self._words.plain and wanted.text.strip() in self.text

    def _has_code(self, code: str) -> bool:
        return code in self._bare and code in self._codes  # most texts need no second, slower look

    @cached_property
    def _bare(self) -> str:
        return regex.sub(r"[^a-z0-9]+", "", normalise(unescaped(self.text)).casefold())

    @cached_property
    def numbers(self) -> frozenset[Decimal]:
        return quantities(self.text, sparing=self.sparing)

    def _numbers(self, wanted: Wanted) -> frozenset[Decimal]:
        return self._digits if wanted.identifier else self.numbers

    @cached_property
    def _digits(self) -> frozenset[Decimal]:
        return in_digits(self.text)

    @cached_property
    def has_unread(self) -> bool:
        """Whether the text has a word for a large number that can't be read."""
        return has_unread(self.text)

    @cached_property
    def _words(self) -> Words:
        return Words.of(self.text)

    @cached_property
    def _dates(self) -> frozenset[Date]:
        named = calendar_dates(self.text).union(Date(day.year, day.month, day.day) for day in self._moments.days)
        if self.with_years:
            return frozenset(date for date in named if date.year)
        return named if self.now is None else frozenset(near for date in named for near in _near(date, self.now.date()))

    @cached_property
    def _weekdays(self) -> frozenset[int]:
        """Days of the week of the dates that have a year."""
        days = map(_day, self._dates)
        return frozenset(day.weekday() for day in days if day is not None)

    @cached_property
    def _times(self) -> frozenset[Time]:
        return times(self.text) | self._moments.times

    @cached_property
    def _moments(self) -> Moments:
        return NO_MOMENTS if self.now is None else moments(self.text, self.now)

    @cached_property
    def _codes(self) -> frozenset[str]:
        return frozenset(_codes(normalise(unescaped(self.text)).casefold()))

    @cached_property
    def _phones(self) -> Phones:
        return Phones(frozenset(digit_runs(self.text)))

    @cached_property
    def _links(self) -> frozenset[str]:
        links = (_plain_link(match.group().rstrip(".,;:!?")) for match in _LINK.finditer(self.text))
        return frozenset(link for link in links if link)


def _near(named: Date, today: date) -> Iterator[Date]:
    """The dates that one without a year may mean: the next such day, and the last one if it is not long ago."""
    if named.year:
        yield named
        return
    years = range(today.year - 1, today.year + _LEAP_YEARS + 1)
    days = [day for year in years if (day := _day(named._replace(year=year))) is not None]
    past, ahead = [day for day in days if day < today], [day for day in days if day >= today]
    for day in (*(day for day in past if today - day <= _NOT_LONG_AGO), *ahead[:1]):
        yield named._replace(year=day.year)


def _day(named: Date) -> date | None:
    """The day that a date names; None without a year, or if there is no such day."""
    try:
        return date(*named)
    except ValueError:
        return None


def _codes(text: str) -> Iterator[str]:
    """Tokens with digits, alone and joined with the next ones: ``ORD-10073`` and ``ord 10073`` are ``ord10073``.

    Two numbers are joined only if they make a long one, so that "10073, 2 items" does not contain 100732.
    """
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    for first in range(len(tokens)):
        joined, gaps, last = "", False, 0
        for start, end in tokens[first : first + _MOST_JOINED]:
            if joined:
                between = text[last:start]
                if between not in _JOINABLE:
                    break
                gaps |= joined[-1].isdigit() and text[start].isdigit()
            joined, last = joined + text[start:end], end
            if len(joined) > _LONGEST_CODE:
                break
            digits = sum(map(str.isdigit, joined))
            if digits and len(joined) >= _LEAST_CODE and (not gaps or digits >= _LONG_NUMBER):
                yield joined


def _plain_link(text: str) -> str | None:
    """A link without scheme, ``www.`` and trailing slash; None if it has user information or no host."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or (parts.scheme or "https") not in ("http", "https"):
        return None
    host = parts.hostname.removeprefix("www.") + (f":{port}" if port not in (None, 80, 443) else "")
    query = f"?{parts.query}" if parts.query else ""
    return host + parts.path.rstrip("/") + query + (f"#{parts.fragment}" if parts.fragment else "")
