"""Dates that a text names by their distance from the day of its writing: tomorrow, next Monday, in two weeks, 后天.

English and Chinese. Where a form has several readings ("next Monday"), all count.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import regex

from guardrails.text.normalise import normalise
from guardrails.text.quantities import quantities
from guardrails.text.times import Time

_LARGEST = 3660
"""Most days, weeks or months of a distance; more is no distance that people mean."""
_DISTANCES = {
    "day after tomorrow": 2, "day before yesterday": -2, "today": 0, "tonight": 0, "this morning": 0,
    "this afternoon": 0, "this evening": 0, "tomorrow": 1, "tmrw": 1, "yesterday": -1, "last night": -1,
    "大后天": 3, "后天": 2, "后日": 2, "明天": 1, "明日": 1, "明早": 1, "明晚": 1,
    "今天": 0, "今日": 0, "今早": 0, "今晚": 0, "大前天": -3, "前天": -2, "昨天": -1, "昨日": -1, "昨晚": -1,
}  # fmt: skip
_DAYS = (
    "monday|(?-i:Mon)", "tuesday|(?-i:Tues?)", "wednesday|(?-i:Wed)", "thursday|(?-i:Thu(?:rs?)?)", "friday|(?-i:Fri)",
    "saturday|(?-i:Sat)", "sunday|(?-i:Sun)",
)  # fmt: skip
"""Short names with a capital only: "sat" and "sun" are other words."""
_DAY = "|".join(f"(?:{name})" for name in _DAYS)
_CHINESE_DAYS = "一二三四五六日天"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_COUNT = r"(?P<count>\d{1,4}|an?|a\s+couple(?:\s+of)?|[a-z]{3,9}(?:[\s-][a-z]{3,5})?)"
_UNIT = r"(?P<unit>minute|hour|day|week|fortnight|month)s?\b"
_CHINESE_UNITS = {
    "分钟": "minute", "小时": "hour", "钟头": "hour", "天": "day", "日": "day", "周": "week", "星期": "week",
    "礼拜": "week", "月": "month",
}  # fmt: skip
_NUMERAL = "[零一二两三四五六七八九十百]{1,5}"
_BLANKS = r"\s+"


class Moments(NamedTuple):
    """Days and times of day that a text names by their distance from now."""

    days: frozenset[date]
    times: frozenset[Time]
    """Times of day, of distances in hours and minutes."""


_WEEKDAY = regex.compile(rf"\s*(?:(?P<day>{_DAY})|(?:周|星期|礼拜)(?P<chinese>[{_CHINESE_DAYS}]))\s*", regex.IGNORECASE)

NO_MOMENTS = Moments(frozenset(), frozenset())


def moments(text: str, now: datetime) -> Moments:
    """The days, and times of day, that a text means by their distance from ``now``, the local time of its writing."""
    text = normalise(text)
    days: set[date] = set()
    at: set[Time] = set()
    for form, read in _FORMS:
        for match in form.finditer(text):
            for found in _safely(read, match, now):
                days.add(found.date() if isinstance(found, datetime) else found)
                if isinstance(found, datetime):
                    at.add(Time(found.hour, found.minute))
    return Moments(frozenset(days), frozenset(at))


def weekday_of(value: str) -> int | None:
    """The day of the week, from 0 for Monday, of a value that is nothing but its name; else None."""
    found = _WEEKDAY.fullmatch(value)
    if found is None:
        return None
    return _number(found["day"]) if found["day"] else _chinese_number(found["chinese"])


def _number(day: str) -> int:
    return next(at for at, name in enumerate(_DAYS) if regex.fullmatch(name, day, regex.IGNORECASE))


def _chinese_number(day: str) -> int:
    return min(_CHINESE_DAYS.index(day), 6)


Found = Iterator[date]
"""Days, or moments as ``datetime``."""


def _safely(read: Callable[[regex.Match[str], datetime], Found], match: regex.Match[str], now: datetime) -> list[date]:
    try:
        return list(read(match, now))
    except (OverflowError, ValueError):  # beyond the calendar
        return []


def _near(match: regex.Match[str], now: datetime) -> Found:
    yield now.date() + timedelta(_DISTANCES[" ".join(match.group().casefold().split())])


def _away(match: regex.Match[str], now: datetime) -> Found:
    count, unit = _count(match["count"]), match["unit"].casefold()
    if count is None:
        return
    yield from _shifted(now, -count if match.groupdict().get("ago") else count, unit)


def _half_an_hour(match: regex.Match[str], now: datetime) -> Found:
    yield _later(now, timedelta(minutes=30))


def _later(now: datetime, distance: timedelta) -> datetime:
    """The local time after a distance; clocks may change in between."""
    return now + distance if now.tzinfo is None else (now.astimezone(UTC) + distance).astimezone(now.tzinfo)


def _chinese_away(match: regex.Match[str], now: datetime) -> Found:
    unit = match["unit"]
    kind = (
        "minute" if "分" in unit else "hour" if unit.endswith(("时", "点", "头")) else "month" if "月" in unit else ""
    )
    kind = kind or ("day" if unit in ("天", "日") else "week")
    if match["count"] == "半":
        if kind == "hour":
            yield from _half_an_hour(match, now)
        return
    count = _count(match["count"])
    if count is not None:
        yield from _shifted(now, -count if match["way"] == "前" else count, kind)


def _shifted(now: datetime, count: int, unit: str) -> Found:
    if abs(count) > _LARGEST:
        return
    if unit in ("minute", "hour"):
        yield _later(now, timedelta(minutes=count) if unit == "minute" else timedelta(hours=count))
    elif unit == "month":
        year, month = divmod(now.year * 12 + now.month - 1 + count, 12)
        yield date(year, month + 1, min(now.day, calendar.monthrange(year, month + 1)[1]))
    else:
        yield now.date() + timedelta(days=count * {"day": 1, "week": 7, "fortnight": 14}[unit])


def _weekday(match: regex.Match[str], now: datetime) -> Found:
    wanted = _number(match["day"])
    before, after = ((match[name] or "").casefold() for name in ("before", "after"))
    ahead = (wanted - now.weekday()) % 7
    monday = now.date() - timedelta(now.weekday())
    if before == "last":
        yield now.date() + timedelta(ahead - 7)
        return
    if before != "next" and not after:
        yield now.date() + timedelta(ahead)
    if ahead == 0 or before == "next":
        yield now.date() + timedelta(ahead or 7)
    if before == "next" or after:
        yield monday + timedelta(7 + wanted)


def _chinese_weekday(match: regex.Match[str], now: datetime) -> Found:
    wanted = _chinese_number(match["day"])
    monday = now.date() - timedelta(now.weekday())
    before = match["before"] or ""
    yield monday + timedelta(7 * (before.count("下") - before.count("上")) + wanted)
    if not before and wanted < now.weekday():
        yield monday + timedelta(7 + wanted)


def _weekend(match: regex.Match[str], now: datetime) -> Found:
    saturday = now.date() + timedelta(5 - now.weekday())
    weeks = 1 if (match["before"] or "").casefold() in ("next", "下") else 0
    yield from (saturday + timedelta(7 * weeks + at) for at in (0, 1))


def _day_of_month(match: regex.Match[str], now: datetime) -> Found:
    """The next such day: "the 5th"."""
    wanted = int(match["day"])
    for ahead in (0, 1):
        year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
        if 1 <= wanted <= calendar.monthrange(year, month + 1)[1] and (ahead or wanted >= now.day):
            yield date(year, month + 1, wanted)
            return


def _end_of_month(match: regex.Match[str], now: datetime) -> Found:
    ahead = 1 if (match["which"] or "").casefold() in ("next", "下个", "下") else 0
    year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
    yield date(year, month + 1, calendar.monthrange(year, month + 1)[1])


def _count(text: str) -> int | None:
    word = text.casefold()
    if word.isdecimal():
        return int(word)
    if word in ("a", "an"):
        return 1
    if word.startswith("a couple"):
        return 2
    return int(max(found)) if (found := quantities(word)) else None


_FORMS = tuple(
    (regex.compile(form, regex.IGNORECASE), read)
    for form, read in (
        (rf"\b(?:{'|'.join(one.replace(' ', _BLANKS) for one in _DISTANCES if one.isascii())})\b", _near),
        ("|".join(one for one in _DISTANCES if not one.isascii()), _near),
        (rf"\b(?:in|within)\s+{_COUNT}\s+{_UNIT}(?!['’])", _away),
        (r"\b(?:in|within)\s+half\s+an\s+hour\b", _half_an_hour),
        (rf"(?<![\w.,]){_COUNT}\s+{_UNIT}\s+(?:from\s+(?:now|today)|later|(?P<ago>ago))\b", _away),
        (
            rf"(?P<count>\d{{1,4}}|{_NUMERAL}|半)\s?个?(?P<unit>{'|'.join(_CHINESE_UNITS)})(?:之|以)?(?P<way>后|前)",
            _chinese_away,
        ),
        (
            rf"\b(?:(?P<before>next|last|this|coming)\s+)?(?P<day>{_DAY})\b(?P<after>(?:\s+of)?\s+next\s+week)?",
            _weekday,
        ),
        (rf"(?P<before>[下上]{{1,2}}|[这本])?个?(?:周|星期|礼拜)(?P<day>[{_CHINESE_DAYS}])", _chinese_weekday),
        (r"\b(?:(?P<before>next|this|the)\s+)?weekend\b", _weekend),
        (r"(?P<before>[下这本])?个?周末", _weekend),
        (rf"\bthe\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)\b(?!\s+(?:of\s+)?(?:{_MONTHS}))", _day_of_month),
        (r"(?<![月\d])(?P<day>\d{1,2})[号日](?!楼)", _day_of_month),
        (r"\bend\s+of\s+(?:the|this|(?P<which>next))\s+month\b", _end_of_month),
        (r"(?P<which>下个?|本)?月底", _end_of_month),
    )
)  # fmt: skip
