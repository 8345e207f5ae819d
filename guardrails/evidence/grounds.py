"""Values that an answer states, and whether texts contain them: numbers, identifiers, dates, e-mail addresses, names.

The comparison is of values, not of meanings: "it ships on 12 May" is supported by a text that names 12 May for
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import regex

from guardrails.finders.personal import personal_finder
from guardrails.text.calendar_dates import calendar_dates, clear_dates
from guardrails.text.quantities import quantities
from guardrails.text.words import EMAIL, LETTER, number_of, numbers_in

_ID = regex.compile(
    rf"(?<!{LETTER}|-)#?(?=[A-Za-z_-]*\d)(?=[\d_-]*[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*(?!{LETTER}|-)",
    regex.VERSION1,
)
_NUMBER = regex.compile(
    rf"(?<!{LETTER}|[.,#-])[-+]?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:[.,]\d+)?(?!{LETTER}|-|[.,]\d)", regex.VERSION1
)
_LIST_MARK = regex.compile(r"(?m)^[^\S\n]{0,8}(?:step )?\d{1,2}[.):]\s", regex.IGNORECASE)
_ORDINAL = regex.compile(r"\d+(?:st|nd|rd|th)", regex.IGNORECASE)
_ISO_TIME = regex.compile(r"(?<=\d-\d\d)T(?=\d\d:)")
"""The letter between date and time."""
_NAMES = ("person", "place", "organization")
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}-]*")
_CAPITALISED = r"\p{Lu}[\p{L}\p{M}-]*(?:['’]s)?"
_NAME = regex.compile(rf"{_CAPITALISED}(?:\s+(?:(?:of|the|and|de|van|von)\s+)?{_CAPITALISED})*")
_SENTENCE_END = regex.compile(r"(?:^|[.!?:;。！？：；\n\"“(])\s*$")


@dataclass(frozen=True)
class Claim:
    """A value that an answer states at characters [start, end)."""

    start: int
    end: int
    kind: str
    values: frozenset[object]
    """Possible readings, of which one must occur in the evidence. Of a name: its words, which all must occur."""


def claims(text: str, *, names: bool = False) -> list[Claim]:
    """Values of an answer that need evidence, in order. Counts below ten and list numbers don't.

    Args:
        names: include names of persons, places and organisations. Only capitalised ones that don't begin a sentence.
    """
    found: list[Claim] = []
    taken = bytearray(len(text))
    for match in _LIST_MARK.finditer(text):
        taken[match.start() : match.end()] = b"1" * len(match.group())
    kinds = (_emails, _dates, _ids, _numbers, *([_names] if names else []))
    for claim in (claim for kind in kinds for claim in kind(text)):
        if not any(taken[claim.start : claim.end]):
            taken[claim.start : claim.end] = b"1" * (claim.end - claim.start)
            found.append(claim)
    return sorted(found, key=lambda claim: claim.start)


class Evidence:
    """Values that texts contain, by kind. A word of a name may stand in any of the texts, also within another word."""

    def __init__(self, texts: Sequence[str]) -> None:
        text = _ISO_TIME.sub(" ", "\n".join(texts))
        self._dates = calendar_dates(text)
        self._numbers = numbers_in(text) | {float(number) for number in quantities(text)}
        self._ids = _values(_ids, text)
        self._emails = _values(_emails, text)
        self._text = text.casefold()

    def supports(self, claim: Claim) -> bool:
        match claim.kind:
            case "date":
                return any(stated.same(date) for stated in claim.values for date in self._dates)  # type: ignore[attr-defined]
            case "number":
                return bool(claim.values & self._numbers)
            case "id":
                return bool(claim.values & self._ids)
            case "email":
                return bool(claim.values & self._emails)
        return all(str(word) in self._text for word in claim.values)


def _values(kind: Callable[[str], Iterator[Claim]], text: str) -> frozenset[object]:
    return frozenset(value for claim in kind(text) for value in claim.values)


def _emails(text: str) -> Iterator[Claim]:
    for match in EMAIL.finditer(text):
        yield Claim(match.start(), match.end(), "email", frozenset({match.group().casefold()}))


def _dates(text: str) -> Iterator[Claim]:
    for start, end, dates in clear_dates(text):
        yield Claim(start, end, "date", frozenset(dates))


def _ids(text: str) -> Iterator[Claim]:
    for match in _ID.finditer(text):
        if not _ORDINAL.fullmatch(match.group()):
            yield Claim(match.start(), match.end(), "id", frozenset({match.group().lstrip("#").casefold()}))


def _numbers(text: str) -> Iterator[Claim]:
    for match in _NUMBER.finditer(text):
        value = number_of(match.group())
        if value is not None and not (value.is_integer() and abs(value) < 10):
            yield Claim(match.start(), match.end(), "number", frozenset({value, abs(value)}))


def _names(text: str) -> Iterator[Claim]:
    """Names that the tagger finds. It reads languages without capitals too badly to hold an answer against it."""
    for found in personal_finder(_NAMES).find(text):
        if _NAME.fullmatch(text, found.start, found.end) and not _SENTENCE_END.search(text, 0, found.start):
            words = (word.casefold() for word in _WORD.findall(text, pos=found.start, endpos=found.end))
            yield Claim(found.start, found.end, "name", frozenset(words))
