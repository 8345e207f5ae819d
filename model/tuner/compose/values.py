"""Random values for parameters of composed conversations: the argument of the call, and its wording."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from faker import Faker

WORDS = Path(__file__).parent / "words.yaml"
FIRST_DAY, DAYS = date(2024, 1, 1), 1_400
"""Range of random dates."""
QUOTES = ('"{}"', "'{}'", "“{}”")


@dataclass(frozen=True)
class Value:
    """A value.

    Attributes:
        argument: the argument in the call.
        said: its wording in the user's message.
    """

    argument: Any
    said: str


Maker = Callable[["Source"], Value]


class Source:
    """Draws values of English conversations. The same seed gives the same values.

    Attributes:
        LOCALES: where names and addresses come from.
        SITUATIONS: file with the words around requests.
        BETWEEN, LAST: what stands between the elements of a list, and before its last one.
        ANSWERS: what stands between values that are told together.
    """

    LOCALES: ClassVar[Sequence[str]] = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "en_IN")
    SITUATIONS: ClassVar[str] = "situations.yaml"
    BETWEEN: ClassVar[str] = ", "
    LAST: ClassVar[Sequence[str]] = (" and ", ", ", " and ", " & ")
    ANSWERS: ClassVar[Sequence[str]] = (", ", ". ", "\n", " and ")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.fake = Faker(list(self.LOCALES))
        self.fake.seed_instance(seed)

    @property
    def kinds(self) -> Mapping[str, Maker]:
        """Makers of values, by kind."""
        return KINDS

    def words(self, kind: str) -> list[Any] | Mapping[Any, Any]:
        """The values of a kind without a maker. Raises KeyError for unknown kinds."""
        found: list[Any] | Mapping[Any, Any] = words()[kind]
        return found

    def of(self, kind: str) -> Value:
        """A value of a kind. Raises KeyError for unknown kinds."""
        made = self.kinds.get(kind) or KINDS.get(kind)
        return made(self) if made else self.one_of(self.words(kind))

    def joined(self, said: Sequence[str]) -> str:
        """A list as it is said."""
        if len(said) == 1:
            return said[0]
        return self.BETWEEN.join(said[:-1]) + self.random.choice(self.LAST) + said[-1]

    def one_of(self, spec: list[Any] | Mapping[Any, Any]) -> Value:
        """A value from a list, or from a mapping of arguments to wordings."""
        argument = self.random.choice(list(spec))
        ways = argument if isinstance(spec, list) else spec[argument]
        return Value(argument, str(self.random.choice(ways) if isinstance(ways, list) else ways))

    def between(self, text: str) -> Value:
        """A number from a range like ``2..6`` or ``0.5..3.0``, with as many decimals as the range has."""
        low, high = text.split("..")
        places = max(len(end.partition(".")[2]) for end in (low, high))
        if places:
            number = round(self.random.uniform(float(low), float(high)), places)
            return Value(number, f"{number:g}")
        whole = self.random.randint(int(low), int(high))
        return Value(whole, self.spoken(whole))

    def dated(self, day: date) -> str:
        """A day as it is said."""
        ordinal = {1: "st", 2: "nd", 3: "rd"}.get(day.day if day.day < 20 else day.day % 10, "th")
        return self.random.choice(
            [
                f"{day:%B} {day.day}, {day.year}",
                f"{day:%B} {day.day}{ordinal}, {day.year}",
                f"{day.day} {day:%B} {day.year}",
                f"the {day.day}{ordinal} of {day:%B} {day.year}",
                f"{day:%b} {day.day} {day.year}",
                day.isoformat(),
                f"{day:%m/%d/%Y}",
            ]
        )

    def spoken(self, number: int) -> str:
        """A whole number in digits, rarely in words or with a separator."""
        if 0 < number <= len(_SMALL) and self.random.random() < 0.25:
            return _SMALL[number - 1]
        return f"{number:,}" if number >= 10_000 and self.random.random() < 0.4 else str(number)


@cache
def words() -> Mapping[str, Any]:
    """Lists and mappings of `words.yaml`, by kind."""
    return read_words(WORDS)


def read_words(path: Path) -> Mapping[str, Any]:
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def known(kind: str) -> bool:
    """Whether a kind exists."""
    return kind in KINDS or kind in words()


_SMALL = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def plain(argument: str) -> Value:
    return Value(argument, argument)


def day(source: Source, first: date = FIRST_DAY, days: int = DAYS) -> date:
    """A day, up to ``days`` days after the first."""
    return first + timedelta(days=source.random.randrange(days))


def _date(source: Source) -> Value:
    when = day(source)
    return Value(when.isoformat(), source.dated(when))


def _date_us(source: Source) -> Value:
    when = day(source)
    return Value(f"{when:%m/%d/%Y}", source.dated(when))


def _date_long(source: Source) -> Value:
    when = day(source)
    return plain(f"{when:%B} {when.day}, {when.year}")


def _past_date(source: Source) -> Value:
    when = day(source, date(1900, 1, 1), 44_000)
    return Value(when.isoformat(), source.dated(when))


def _birth_date(source: Source) -> Value:
    when = day(source, date(1940, 1, 1), 25_000)
    return Value(when.isoformat(), source.dated(when))


def clock(source: Source) -> tuple[int, int]:
    """An hour and a minute of the day."""
    return source.random.randrange(6, 23), source.random.choice([0, 0, 0, 15, 30, 30, 45, 5, 10, 40])


def _twelve(hour: int, minute: int, source: Source) -> str:
    half = "am" if hour < 12 else "pm"
    shown = f"{(hour - 1) % 12 + 1}"
    minutes = f":{minute:02}" if minute else ""
    return source.random.choice(
        [f"{shown}{minutes} {half}", f"{shown}{minutes}{half}", f"{shown}{minutes} {half.upper()}"]
    )


def _time(source: Source) -> Value:
    hour, minute = clock(source)
    exact = f"{hour:02}:{minute:02}"
    return Value(exact, source.random.choice([exact, _twelve(hour, minute, source), f"{hour}:{minute:02}"]))


def _time_12(source: Source) -> Value:
    hour, minute = clock(source)
    argument = f"{(hour - 1) % 12 + 1}:{minute:02} {'AM' if hour < 12 else 'PM'}"
    return Value(argument, source.random.choice([argument, _twelve(hour, minute, source)]))


def _datetime(source: Source) -> Value:
    when, (hour, minute) = day(source), clock(source)
    moment = datetime(when.year, when.month, when.day, hour, minute)
    said = source.random.choice(
        [
            f"{source.dated(when)} at {_twelve(hour, minute, source)}",
            f"{hour}:{minute:02} on {source.dated(when)}",
            moment.isoformat(),
        ]
    )
    return Value(moment.isoformat(), said)


def _percent(source: Source) -> Value:
    number = source.random.choice([5, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 90])
    return Value(number, source.random.choice([f"{number}%", f"{number} %", f"{number} percent"]))


def _money(source: Source) -> Value:
    amount: float = source.random.choice([source.random.randrange(5, 500), source.random.randrange(5, 90) * 100])
    if source.random.random() < 0.3:
        amount = round(amount + source.random.randrange(1, 100) / 100, 2)
    return Value(
        amount, f"{amount:,.2f}" if amount % 1 else f"{amount:,}" if source.random.random() < 0.3 else f"{amount}"
    )


def _digits(source: Source, count: int) -> str:
    return "".join(source.random.choices(string.digits, k=count))


def _id(source: Source) -> Value:
    head = "".join(source.random.choices(string.ascii_uppercase, k=source.random.choice([1, 2, 3])))
    return plain(f"{head}-{_digits(source, source.random.choice([3, 4, 5]))}")


def _code(source: Source) -> Value:
    return plain("".join(source.random.choices(string.ascii_uppercase + string.digits, k=6)))


def quoted(source: Source, text: str, bare: float, marks: Sequence[str] = QUOTES) -> Value:
    """A text between quotation marks; without them with the probability ``bare``."""
    if source.random.random() < bare:
        return plain(text)
    return Value(text, source.random.choice(marks).format(text))


def _file(source: Source) -> Value:
    return plain(f"{source.random.choice(words()['stem'])}.{source.random.choice(words()['ending'])}")


def _float(low: float, high: float) -> Maker:
    def made(source: Source) -> Value:
        number = round(source.random.uniform(low, high), 4)
        return Value(number, str(number))

    return made


_NAMED_DAYS = [date(2024, 1, day) for day in range(1, 8)]
_NAMED_MONTHS = [date(2024, month, 1) for month in range(1, 13)]

KINDS: dict[str, Maker] = {
    "street": lambda source: plain(source.fake.street_address().replace("\n", " ")),
    "address": lambda source: plain(f"{source.fake.street_address()}, {source.of('city').argument}".replace("\n", " ")),
    "postcode": lambda source: plain(source.fake.postcode()),
    "person": lambda source: plain(f"{source.fake.first_name()} {source.fake.last_name()}"),
    "first_name": lambda source: plain(source.fake.first_name()),
    "last_name": lambda source: plain(source.fake.last_name()),
    "company": lambda source: plain(source.fake.company()),
    "email": lambda source: plain(source.fake.email()),
    "phone": lambda source: plain(source.fake.phone_number()),
    "username": lambda source: plain(source.fake.user_name()),
    "url": lambda source: plain(f"https://{source.of('domain').argument}/{source.fake.uri_path()}"),
    "ip": lambda source: plain(source.fake.ipv4()),
    "uuid": lambda source: plain(source.fake.uuid4()),
    "date": _date,
    "date_us": _date_us,
    "date_long": _date_long,
    "past_date": _past_date,
    "birth_date": _birth_date,
    "time": _time,
    "time_12": _time_12,
    "datetime": _datetime,
    "weekday": lambda source: plain(f"{source.random.choice(_NAMED_DAYS):%A}"),
    "month": lambda source: plain(f"{source.random.choice(_NAMED_MONTHS):%B}"),
    "year": lambda source: (lambda year: Value(year, str(year)))(source.random.randrange(1950, 2027)),
    "id": _id,
    "code": _code,
    "number_id": lambda source: (lambda number: Value(number, str(number)))(source.random.randrange(100, 999_999)),
    "small": lambda source: source.between("1..10"),
    "percent": _percent,
    "money": _money,
    "file": _file,
    "latitude": _float(-60, 70),
    "longitude": _float(-170, 170),
    "hex": lambda source: plain(source.fake.hex_color()),
    "emoji": lambda source: plain(source.random.choice("😀😂🎉❤️👍🔥🌞🍕🚀😢")),
    "sentence": lambda source: quoted(source, source.random.choice(words()["sentence"]), bare=0.1),
    "title": lambda source: quoted(source, source.random.choice(words()["title"]), bare=0.5),
    "book": lambda source: quoted(source, source.random.choice(words()["book"]), bare=0.5),
    "film": lambda source: quoted(source, source.random.choice(words()["film"]), bare=0.5),
    "song": lambda source: quoted(source, source.random.choice(words()["song"]), bare=0.5),
    "sql": lambda source: quoted(source, source.random.choice(words()["sql"]), bare=0.6),
}
"""Kinds in addition to the lists of `words.yaml`."""
