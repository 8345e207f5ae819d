"""Values and their wordings in Chinese conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from model.tuner.compose.values import Maker, Source, Value, clock, day, plain, quoted, read_words, words

WORDS = Path(__file__).parent / "words_zh.yaml"
_DIGITS = "零一二三四五六七八九"
_HALVES = ((6, "早上"), (9, "上午"), (12, "中午"), (13, "下午"), (18, "晚上"))
_QUOTES, _TITLES = ("“{}”", '"{}"', "「{}」"), ("《{}》", "《{}》", "“{}”")
_WEEKDAYS = "一二三四五六日"


class ChineseSource(Source):
    """Draws Chinese values: names, addresses, and dates and numbers as they are said."""

    LOCALES = ("zh_CN",)
    SITUATIONS = "situations_zh.yaml"
    BETWEEN, LAST = "、", ("、", "和", "，还有", "以及")
    ANSWERS = ("，", "。", "\n", "，还有")

    @property
    def kinds(self) -> Mapping[str, Maker]:
        return KINDS

    def words(self, kind: str) -> list[Any] | Mapping[Any, Any]:
        found: list[Any] | Mapping[Any, Any] = _words().get(kind) or words()[kind]
        return found

    def dated(self, day: date) -> str:
        return self.random.choice(
            [
                f"{day.year}年{day.month}月{day.day}日",
                f"{day.year}年{day.month}月{day.day}号",
                f"{day.year}年{written(day.month)}月{written(day.day)}号",
                f"{day.year}.{day.month}.{day.day}",
                day.isoformat(),
            ]
        )

    def spoken(self, number: int) -> str:
        if 0 < number < 100 and self.random.random() < 0.25:
            return written(number)
        if number >= 10_000 and number % 1_000 == 0 and self.random.random() < 0.5:
            return f"{number / 10_000:g}万"
        return str(number)


@cache
def _words() -> Mapping[str, Any]:
    return read_words(WORDS)


def written(number: int) -> str:
    """A number from 1 to 99 in characters."""
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_DIGITS[tens]}十"
    return head + (_DIGITS[ones] if ones or not head else "")


def _date_long(source: Source) -> Value:
    when = day(source)
    return plain(f"{when.year}年{when.month}月{when.day}日")


def _half(hour: int, minute: int, source: Source) -> str:
    part = [name for begin, name in _HALVES if hour >= begin][-1]
    shown = hour if hour <= 12 else hour - 12
    digits = source.random.choice([str(shown), "两" if shown == 2 else written(shown)])
    minutes = {0: "点", 30: "点半", 15: "点一刻"}.get(minute, f"点{minute:02}分")
    return f"{part}{digits}{minutes}"


def _time(source: Source) -> Value:
    hour, minute = clock(source)
    exact = f"{hour:02}:{minute:02}"
    return Value(exact, source.random.choice([exact, _half(hour, minute, source), _half(hour, minute, source)]))


def _datetime(source: Source) -> Value:
    when, (hour, minute) = day(source), clock(source)
    exact = f"{when.isoformat()}T{hour:02}:{minute:02}:00"
    return Value(exact, source.random.choice([f"{source.dated(when)}{_half(hour, minute, source)}", exact]))


def _percent(source: Source) -> Value:
    number = source.random.choice([5, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 90])
    return Value(number, source.random.choice([f"{number}%", f"百分之{written(number)}"]))


def _money(source: Source) -> Value:
    amount: float = source.random.choice([source.random.randrange(5, 500), source.random.randrange(5, 90) * 100])
    if source.random.random() < 0.3:
        amount = round(amount + source.random.randrange(1, 100) / 100, 2)
    return Value(amount, f"{amount:.2f}" if amount % 1 else f"{amount}")


def _weekday(source: Source) -> Value:
    name = source.random.choice(_WEEKDAYS)
    return Value(
        f"星期{name}", source.random.choice([f"星期{name}", f"周{name}", f"礼拜{name if name != '日' else '天'}"])
    )


def _month(source: Source) -> Value:
    number = source.random.randrange(1, 13)
    return Value(f"{number}月", source.random.choice([f"{number}月", f"{written(number)}月", f"{number}月份"]))


def _street(source: Source) -> Value:
    return plain(f"{source.of('street_name').argument}{source.random.randrange(1, 300)}号")


def _person(source: Source) -> Value:
    return plain(f"{source.fake.last_name()}{source.fake.first_name()}")


def _quoted(source: Source, kind: str, marks: Sequence[str]) -> Value:
    return quoted(source, source.random.choice(list(source.words(kind))), 0.3, marks)


KINDS: Mapping[str, Maker] = {
    "street_name": lambda source: source.one_of(list(source.words("street"))),
    "street": _street,
    "address": lambda source: plain(
        f"{source.of('city').argument}市{_street(source).argument}{source.random.randrange(1, 30)}栋"
        f"{source.random.randrange(1, 30)}0{source.random.randrange(1, 5)}室"
    ),
    "person": _person,
    "first_name": lambda source: plain(source.fake.first_name()),
    "last_name": lambda source: plain(source.fake.last_name()),
    "company": lambda source: plain(source.fake.company()),
    "phone": lambda source: plain(source.fake.phone_number()),
    "date_long": _date_long,
    "time": _time,
    "datetime": _datetime,
    "weekday": _weekday,
    "month": _month,
    "percent": _percent,
    "money": _money,
    "title": lambda source: _quoted(source, "title", _QUOTES),
    "sentence": lambda source: _quoted(source, "sentence", _QUOTES),
    "book": lambda source: _quoted(source, "book", _TITLES),
    "film": lambda source: _quoted(source, "film", _TITLES),
    "song": lambda source: _quoted(source, "song", _TITLES),
}
"""Kinds that differ from those of `model.tuner.compose.values.KINDS`."""
