"""Times of day in a text, in English and Chinese: 3 pm, 15:00, half past four, 下午三点."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex

from guardrails.text.normalise import normalise

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_HOUR = rf"(?P<hour>\d{{1,2}}|{'|'.join(_WORDS)})"
_HALVES = r"(?P<half>[ap])\.?\s?m\b"
_NUMERAL = "[零一二两三四五六七八九十]{1,3}"
_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2}
_MINUTES = {"half": 30, "quarter": 15, "five": 5, "ten": 10, "twenty": 20, "twenty-five": 25}
_COUNTED = (
    r"euros?|eur|usd|gbp|chf|dollars?|pounds?|yuan|cents?|percent|per\s+cent|people|persons?|guests?|items?|pieces?|units?"
    r"|copies|times|kg|g|km|cm|mm|m|days?|weeks?|months?|years?|hours?|minutes?|of|another"
)
_AFTER_NUMBER = rf"(?!\s?(?:[ap]\.?\s?m\b|o['’]?\s?clock)|[:.,]?\d|\s?[%€$£¥]|\s{{1,3}}(?:{_COUNTED})\b)"
"""After "at 3", nothing that makes an amount of it."""
_CLEAR = tuple(
    regex.compile(form, regex.IGNORECASE)
    for form in (
        rf"(?<![\w:.,]){_HOUR}(?:[:.](?P<minute>\d\d))?\s?{_HALVES}",
        r"(?<![\d:+])(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d(?:\.\d{1,9})?)?(?![\d:]|\s?[ap]\.?\s?m\b)",
        rf"\b{_HOUR}\s?o['’]?\s?clock\b",
        rf"(?P<day>凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上|[今明昨]早|[今明昨]晚)?\s?(?P<hour>\d{{1,2}}|{_NUMERAL})\s?[点點时時]"
        rf"(?:(?P<thirty>半)|(?P<quarters>[一三13])刻|(?P<minute>\d{{1,2}}|{_NUMERAL})分?)?(?!半?间|候)",
    )
)
"""Forms that are hardly anything but times of day: 3 pm, 15:00, 3 o'clock, 下午三点."""
_FORMS = (
    *_CLEAR,
    *(
        regex.compile(form, regex.IGNORECASE)
        for form in (
            rf"\b(?:at|by|from|until|till)\s+{_HOUR}\b{_AFTER_NUMBER}",
            rf"\b(?:a\s+)?(?P<minutes>half|quarter|five|ten|twenty(?:-five)?|\d{{1,2}})(?:\s+minutes?)?\s+(?P<way>past|to)"
            rf"\s+{_HOUR}\b(?:\s?{_HALVES})?",
            r"\b(?P<named>noon|midday|midnight)\b",
        )
    ),
)
_ISO = regex.compile(
    r"\d{4}-\d\d-\d\d[T ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?\d\d(?:\.\d{1,9})?)?(?:Z|[-+]\d\d:?\d\d)?"
)
_ALONE = regex.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d(?:\.\d{1,9})?)?(?:Z|[-+]\d\d:?\d\d)?")
_LONGEST = 40


class Time(NamedTuple):
    hour: int
    minute: int


MIDNIGHT = Time(0, 0)


def times(text: str) -> frozenset[Time]:
    """All times of day in a text. An hour of 1 to 12 without a half of the day is read as both."""
    text = normalise(text)
    return frozenset(time for form in _FORMS for match in form.finditer(text) for time in _read(match))


def clear_times(text: str) -> list[tuple[int, int, frozenset[Time]]]:
    """Begin, end and readings of what is hardly anything but a time of day, in order and without overlaps."""
    found = sorted((match.span(), frozenset(_read(match))) for form in _CLEAR for match in form.finditer(text))
    placed: list[tuple[int, int, frozenset[Time]]] = []
    for (start, end), read in found:
        if read and (not placed or placed[-1][1] <= start):
            placed.append((start, end, read))
    return placed


def time_of(value: str) -> Time | None:
    """The time of a value that is nothing but a time, or a date with a time in ISO 8601; else None."""
    text = normalise(value).strip()
    if len(text) > _LONGEST:
        return None
    if (found := _ISO.fullmatch(text) or _ALONE.fullmatch(text)) is not None:
        return _checked(int(found["hour"]), int(found["minute"]))
    whole = (match for form in _FORMS if (match := form.fullmatch(text)))
    return next((time for match in whole for time in _read(match)), None)


def _read(match: regex.Match[str]) -> Iterator[Time]:
    groups = match.groupdict()
    if named := groups.get("named"):
        yield MIDNIGHT if named.casefold() == "midnight" else Time(12, 0)
        return
    hour = _number(groups["hour"])
    minute = 30 if groups.get("thirty") else 15 * _number(groups.get("quarters") or "0")
    minute = minute or _number(groups.get("minute") or "0")
    if past := groups.get("minutes"):
        shift = _MINUTES[past.casefold()] if past.casefold() in _MINUTES else int(past)
        minute, hour = (shift, hour) if groups["way"].casefold() == "past" else (60 - shift, hour - 1 or 12)
    half, day = groups.get("half") or "", groups.get("day") or ""
    full = groups["hour"].startswith("0") and not (half or day)
    for one in _hours(hour, half, day, full=full):
        if (time := _checked(one, minute)) is not None:
            yield time


def _hours(hour: int, half: str, day: str, *, full: bool) -> tuple[int, ...]:
    """The hours on the clock of 24 that an hour can mean.

    Args:
        full: whether it is written as on that clock: 03:30.
    """
    if not 0 <= hour <= 12 or full:
        return (hour,)
    morning, evening = (hour % 12,), (hour % 12 + 12,)
    if half:
        return morning if half.casefold() == "a" else evening
    if day[-1:] in ("晨", "早") or day in ("早上", "上午"):
        return morning
    if day in ("下午", "傍晚"):
        return evening
    if day in ("晚上", "今晚", "明晚", "昨晚"):
        return (0,) if hour == 12 else evening
    return (hour,) if hour == 0 else (hour, (hour + 12) % 24)


def _checked(hour: int, minute: int) -> Time | None:
    return Time(hour, minute) if 0 <= hour < 24 and 0 <= minute < 60 else None


def _number(text: str) -> int:
    """The value of digits, of an English hour in words, or of a Chinese numeral below a hundred."""
    if text.isdecimal():
        return int(text)
    if text.casefold() in _WORDS:
        return _WORDS.index(text.casefold()) + 1
    tens, ten, ones = text.rpartition("十")
    value = _DIGITS.get(ones, 0) if ones else 0
    return value + 10 * _DIGITS.get(tens or "一", 1) if ten else value
