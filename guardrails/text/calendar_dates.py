"""Calendar dates of a text, in the notations of English, German and Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex

from guardrails.text.normalise import normalise

_NAMES = (
    "jan(?:uary|uar)?|jänner", "feb(?:ruary|ruar)?", "mar(?:ch)?|märz", "apr(?:il)?", "may|mai", "june?|juni",
    "july?|juli", "aug(?:ust)?", "sept?(?:ember)?", "o[ck]t(?:ober)?", "nov(?:ember)?", "de[cz](?:ember)?",
)  # fmt: skip
_MONTH = "|".join(f"(?:{names})" for names in _NAMES)
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_FORMS = tuple(
    regex.compile(form, regex.IGNORECASE)
    for form in (
        rf"(?<!\d){_YEAR}[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)(?!\d)",
        rf"(?<![\d.])(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.(?:\s?{_YEAR})?(?!\d)",
        rf"(?<![\d/-])(?P<day>\d\d?)[/-](?P<month>\d\d?)(?:[/-]{_YEAR})?(?![\d/-])",
        rf"(?<![\d/-])(?P<month>\d\d?)[/-](?P<day>\d\d?)(?:[/-]{_YEAR})?(?![\d/-])",
        rf"(?<![\d.,])(?P<day>\d\d?)(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<name>{_MONTH})\b\.?(?:,?\s+{_YEAR})?",
        rf"\b(?P<name>{_MONTH})\b\.?\s+(?:the\s+)?(?P<day>\d\d?)(?:st|nd|rd|th)?(?!\d)(?:,?\s+{_YEAR})?",
        rf"(?:{_YEAR}年)?(?P<month>\d\d?)月(?P<day>\d\d?)[日号]",
    )
)
_LONGEST = 40
_ISO = regex.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?")


class Date(NamedTuple):
    """``year`` is 0 where the text leaves it out."""

    year: int
    month: int
    day: int

    def same(self, other: Date) -> bool:
        return self[1:] == other[1:] and (self.year == other.year or 0 in (self.year, other.year))

    def __str__(self) -> str:
        """ISO 8601."""
        return f"{self.year:04}-{self.month:02}-{self.day:02}"


def calendar_dates(text: str) -> frozenset[Date]:
    """All dates of a text, with both readings of ``5/3/2026``."""
    return frozenset(_found(normalise(text)))


def date_of(value: str) -> Date | None:
    """The date of a value that is nothing but a date, or a date with a time in ISO 8601; else None."""
    text = normalise(value).strip()
    if len(text) > _LONGEST:
        return None
    if _ISO.fullmatch(text):
        return Date(int(text[:4]), int(text[5:7]), int(text[8:10]))
    whole = (match for form in _FORMS if (match := form.fullmatch(text)))
    return next((date for match in whole for date in _dates(match)), None)


def without_dates(text: str) -> str:
    """A text without its dates that have a year or a month's name. Their numbers are no amounts."""
    text = normalise(text)
    for form in _FORMS:
        text = form.sub(lambda found: " " if _is_clear(found) else found.group(), text)
    return text


def clear_dates(text: str) -> Iterator[tuple[int, int, frozenset[Date]]]:
    """Begin, end and readings of each date that has a year or a month's name, in no order."""
    found: dict[tuple[int, int], frozenset[Date]] = {}
    for match in (match for form in _FORMS for match in form.finditer(text) if _is_clear(match)):
        found[match.span()] = found.get(match.span(), frozenset()).union(_dates(match))
    # The longest first: "12 May" is a part of "12 May 2026".
    for (start, end), dates in sorted(found.items(), key=lambda one: one[0][0] - one[0][1]):
        yield start, end, dates


def _is_clear(found: regex.Match[str]) -> bool:
    groups = found.groupdict()
    named = bool(groups.get("name") or groups.get("year") or "月" in found.group())
    return named and next(_dates(found), None) is not None


def _found(text: str) -> Iterator[Date]:
    for form in _FORMS:
        for match in form.finditer(text):
            yield from _dates(match)


def _dates(match: regex.Match[str]) -> Iterator[Date]:
    groups = match.groupdict()
    if groups.get("name"):
        wanted = groups["name"]
        month = next(at for at, names in enumerate(_NAMES, 1) if regex.fullmatch(names, wanted, regex.IGNORECASE))
    else:
        month = int(groups["month"])
    date = Date(int(groups["year"] or 0), month, int(groups["day"]))
    if 1 <= date.month <= 12 and 1 <= date.day <= 31:
        yield date
