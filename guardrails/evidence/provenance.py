"""Traces the values of a call's arguments to the user's words, trusted records, other results, or nothing.

A value is looked up as it is written and in other notations (`guardrails.text.wordings`), in order of trust. A value
that is found nowhere may be composed: a name of several words, or an amount that is a sum, a difference, a product or a
percentage of known numbers. Then the weakest source counts. A value that strangers wrote is never explained by
arithmetic, since many sums can be made of a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

import regex

from flightloop.provenance import Match, Origin, Source, weakest
from guardrails.evidence.arithmetic import Operand, Pool
from guardrails.evidence.identifying import Leaf, is_identifier
from guardrails.evidence.spoken import AGREED, Spoken
from guardrails.evidence.strangers import as_json, divided, tells
from guardrails.text.calendar_dates import Date, date_of, without_dates
from guardrails.text.scalars import scalar_texts
from guardrails.text.times import MIDNIGHT, Time
from guardrails.text.wordings import Wanted, Wordings
from guardrails.types import GuardContext, Read, Trail

LONGEST_VALUE = 80
"""Characters of a value in a source; a reason that a person reads stays short."""
MOST_WORDS = 12
MOST_OPERANDS = 40
"""Numbers of each origin that arithmetic may use."""
MOST_TRIED = 1000
"""Values of results that are tried as operands."""
MOST_COMPOSED = 50
"""Values of a call that arithmetic may explain. Others have no source, so that a person is asked."""
MOST_NAMED = 20
"""Values of a call whose field is searched for. Others are told with their tool only."""
NEVER = float("inf")
_TELLING = regex.compile(r"\d|@|[^\W\d_]\s+[^\W\d_]|\p{Lu}|\p{Han}")
"""Sign of an identifier in a look-up's arguments. A word such as "shipped" identifies nothing."""


@dataclass(frozen=True)
class Place:
    """Where a value was found."""

    origin: Origin
    match: Match
    read: Read | None = None
    field: str | None = None
    how: str = ""


class Tracer:
    """Traces the values of one call.

    Args:
        call_id: the call; results that came after its decision explain nothing.
    """

    def __init__(self, context: GuardContext, call_id: str) -> None:
        self._context, self._trail = context, context.trail or _trail_of(context)
        self._cut = self._trail.decided.get(call_id, len(self._trail.written))
        self._user = _wordings(context, context.user_text, with_years=bool(context.said))
        self._amounts = Wordings(without_dates(context.user_text), sparing=True)
        subject = context.subject
        claims = [] if subject is None else [subject.id, *subject.claims.values()]
        self._subject = _wordings(context, "\n".join(map(str, claims)))
        self._spoken = Spoken.of(context)
        self._composed = self._named = 0
        self._reads: list[_Indexed] = []
        for read in self._trail.reads:
            if read.before <= self._cut:
                self._reads.append(self._worth(_kept(context, read)))

    def source(self, leaf: Leaf) -> Source:
        """The source of a value."""
        wanted = _wanted(leaf)
        place = self._found(wanted)
        if place is not None:
            return _source(leaf, place, place.how)
        words = self._words(leaf, wanted)
        return words or self._arithmetic(leaf, wanted) or _source(leaf, None)

    def is_guess(self, leaf: Leaf) -> bool:
        """Whether no result, earlier call or answer has a value: the model has just made it up."""
        wanted = _wanted(leaf)
        if self._since(wanted) < NEVER or any(read.trusted.match(wanted) for read in self._reads):
            return False
        return not any(_wordings(self._context, one.after).match(wanted) for one in self._context.said)

    def _worth(self, read: _Indexed) -> _Indexed:
        """A result, without records if strangers told the model what to look up; looked up once a run."""
        if not read.trusted.fields or not read.read.arguments:
            return read
        key = ("worth", read.read.key, read.read.run_id)
        found = self._context.memo.get(key)
        if not isinstance(found, _Indexed):
            asked = filter(_TELLING.search, scalar_texts(as_json(read.read.arguments)))
            planted = any(self._is_strangers(Wanted(text)) for text in asked)
            self._context.memo[key] = found = read.distrusted if planted else read
        return found

    def _is_strangers(self, wanted: Wanted) -> bool:
        place = self._found(wanted)
        return place is not None and place.read is not None and place.origin is Origin.RESULT and place.read.strangers

    def _found(self, wanted: Wanted) -> Place | None:
        place = self._as_one(wanted)
        if wanted.time is None or wanted.date is None or (place is not None and _is_sure(place)):
            return place
        return self._day_and_time(wanted.date, wanted.time) or place

    def _as_one(self, wanted: Wanted) -> Place | None:
        own = self._user if wanted.amount is None or wanted.date is not None else self._amounts
        if match := own.match(wanted):
            return Place(Origin.USER, match)
        if self._spoken.names(wanted):
            return Place(Origin.USER, Match.NORMALISED)
        if match := self._subject.match(wanted):
            return Place(Origin.RECORD, match)
        return self._record(wanted) or self._result(wanted) or self._last(wanted)

    def _day_and_time(self, date: Date, time: Time) -> Place | None:
        """The weaker one of the places of a day and a time. A time that stands nowhere is the model's, like 00:00."""
        day = self._as_one(Wanted(f"{date.year:04}-{date.month:02}-{date.day:02}"))
        if day is None or time == MIDNIGHT:
            return day
        hour = self._as_one(Wanted(f"{time.hour:02}:{time.minute:02}"))
        return day if hour is None else min(day, hour, key=lambda place: place.origin.strength)

    def _last(self, wanted: Wanted) -> Place | None:
        """A value that no result has: of a day that is another one in the user's time zone, or of a question to which
        the user agreed while no stranger could have suggested it."""
        if self._spoken.may_name(wanted):
            return Place(Origin.USER, Match.NORMALISED)
        if self._context.tainted or not (match := self._spoken.agreed_to(wanted)):
            return None
        if any(tells(read.read, self._context.memo) for read in self._reads):
            return None
        return Place(Origin.USER, match, how=AGREED)

    def _record(self, wanted: Wanted) -> Place | None:
        vouched = self._vouched(wanted)
        if vouched is None:
            return None
        match, read = vouched
        return Place(Origin.RECORD, match, read.read, self._field(read.trusted, wanted))

    def _vouched(self, wanted: Wanted) -> tuple[Match, _Indexed] | None:
        """A result with a trusted field that had the value before the model wrote it; a tool may repeat what the model
        wrote."""
        since: float | None = None
        for read in self._reads:
            if match := read.trusted.match(wanted):
                since = self._since(wanted) if since is None else since
                if read.read.before <= since:
                    return match, read
        return None

    def _result(self, wanted: Wanted) -> Place | None:
        for read in self._reads:
            if match := read.untrusted.match(wanted):
                return Place(Origin.RESULT, match, read.read, self._field(read.untrusted, wanted))
        return None

    def _field(self, part: _Part, wanted: Wanted) -> str | None:
        if (path := part.same(wanted)) is not None:
            return path or None
        self._named += 1
        return part.field(wanted) if self._named <= MOST_NAMED else None

    def _since(self, wanted: Wanted) -> float:
        """Index of the first text by which the model had written the value."""
        written = enumerate(self._trail.written[: self._cut])
        return next((at for at, text in written if _wordings(self._context, text).match(wanted)), NEVER)

    def _words(self, leaf: Leaf, wanted: Wanted) -> Source | None:
        """The source of a name or address whose words are known, but not together."""
        words = wanted.text.replace(",", " ").split() if isinstance(leaf.value, str) else []
        if not 1 < len(words) <= MOST_WORDS or "@" in wanted.text or "://" in wanted.text:
            return None
        places = [self._found(Wanted.of(word)) for word in words]
        known = [place for place in places if place is not None]
        if len(known) < len(words):
            return None
        worst = min(known, key=lambda place: place.origin.strength)
        return _source(leaf, Place(worst.origin, Match.COMPOSED, worst.read, worst.field), "made of several words")

    def _arithmetic(self, leaf: Leaf, wanted: Wanted) -> Source | None:
        if not leaf.composable or wanted.amount is None or self._composed == MOST_COMPOSED or self._unread:
            return None
        self._composed += 1
        for pool in self._pools:
            if found := pool.composed(wanted.amount):
                how, used = found
                worst = min(used, key=lambda place: (place.origin.strength, place.read is not None))
                origin = weakest(place.origin for place in used)
                return _source(leaf, Place(origin, Match.COMPOSED, worst.read, worst.field), how)
        return None

    @cached_property
    def _unread(self) -> bool:
        """Whether a result that is no record has a number in words that can't be read. It may be any amount."""
        return any(read.untrusted.every.has_unread for read in self._reads)

    @cached_property
    def _pools(self) -> list[Pool[Place]]:
        """Operands of the user, of the user and records, and of all, made once a call."""
        user, records = self._operands_of_user(), self._operands(trusted=True)
        both = [*user, *records]
        return [Pool(user), Pool(both), Pool([*both, *self._operands(trusted=False)])]

    def _operands_of_user(self) -> list[Operand[Place]]:
        numbers = sorted(self._amounts.numbers)[:MOST_OPERANDS]
        return [Operand(number, Place(Origin.USER, Match.EXACT)) for number in numbers]

    def _operands(self, *, trusted: bool) -> list[Operand[Place]]:
        """Amounts of the latest results."""
        found: dict[Any, Operand[Place]] = {}
        parts = ((read, read.trusted if trusted else read.untrusted) for read in reversed(self._reads))
        every = ((read, path, text) for read, part in parts for path, text in part.amounts)
        for read, path, text in islice(every, MOST_TRIED):
            wanted = Wanted(text)
            if wanted.amount is None or wanted.amount in found:
                continue
            vouched = self._vouched(wanted) if trusted else None
            if vouched is not None:
                of = vouched[1].read
                place = Place(Origin.RECORD, vouched[0], of, path if of is read.read else None)
            elif not trusted:
                place = Place(Origin.RESULT, Match.EXACT, read.read, path)
            else:
                continue
            found[wanted.amount] = Operand(wanted.amount, place)
            if len(found) == MOST_OPERANDS:
                break
        return list(found.values())


@dataclass(frozen=True)
class _Part:
    """The trusted or the untrusted values of a result, with their paths."""

    fields: tuple[tuple[str, str], ...]
    every: Wordings
    quantities: Wordings
    """Without dates, whose numbers are no amounts and identify nothing."""

    @classmethod
    def of(cls, fields: Sequence[tuple[str, str]]) -> _Part:
        plain = [text for _, text in fields if date_of(text) is None]
        return cls(tuple(fields), Wordings("\n".join(text for _, text in fields)), Wordings("\n".join(plain)))

    def match(self, wanted: Wanted) -> Match | None:
        return (self.every if wanted.number is None else self.quantities).match(wanted)

    def same(self, wanted: Wanted) -> str | None:
        """Path of the first value that is written just so."""
        return next((path for path, text in self.fields if text == wanted.text), None)

    def field(self, wanted: Wanted) -> str | None:
        """Path of the first value that has it; None: several lines together have it, or the result is one value."""
        return next((path for path, text in self.fields if Wordings(text).match(wanted)), None) or None

    @property
    def amounts(self) -> Iterator[tuple[str, str]]:
        return ((path, text) for path, text in self.fields if not is_identifier(path) and date_of(text) is None)


@dataclass(frozen=True)
class _Indexed:
    """A result whose values can be looked up."""

    read: Read
    trusted: _Part
    untrusted: _Part

    @property
    def distrusted(self) -> _Indexed:
        return _Indexed(self.read, _Part.of([]), _Part.of([*self.trusted.fields, *self.untrusted.fields]))


def _wanted(leaf: Leaf) -> Wanted:
    return Wanted.of(leaf.value, identifier=leaf.identifying and not leaf.composable)


def _kept(context: GuardContext, read: Read) -> _Indexed:
    """The index of a result, made once a run."""
    key = (Read, read.key, read.run_id)
    found = context.memo.get(key)
    if not isinstance(found, _Indexed):
        trusted, untrusted = divided(read)
        context.memo[key] = found = _Indexed(read, _Part.of(trusted), _Part.of(untrusted))
    return found


def _is_sure(place: Place) -> bool:
    """Whether a date with a time is written just so, by one who vouches."""
    return place.match is Match.EXACT and place.origin in (Origin.USER, Origin.RECORD)


def _wordings(context: GuardContext, text: str, *, with_years: bool = False) -> Wordings:
    """Wordings of a text, prepared once a run.

    Args:
        with_years: for the user's words where their times are known, by which `Spoken` reads dates without a year.
    """
    found = context.memo.get((Wordings, text, with_years))
    if not isinstance(found, Wordings):
        context.memo[Wordings, text, with_years] = found = Wordings(text, with_years=with_years)
    return found


def _trail_of(context: GuardContext) -> Trail:
    """The trail of a run that is known by its texts only."""
    pairs = zip_longest(context.trusted_results, context.written_before, fillvalue=len(context.written))
    trusted = [
        Read(f"trusted {at}", "a tool", as_json(text), ("*",), before=before)
        for at, (text, before) in enumerate(pairs)
        if isinstance(text, str) and isinstance(before, int)
    ]
    others = [Read(f"result {at}", "a tool", as_json(text)) for at, text in enumerate(context.results)]
    return Trail((*trusted, *others), context.written)


def _source(leaf: Leaf, place: Place | None, how: str = "") -> Source:
    text = str(leaf.value)
    value = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
    if place is None:
        return Source(argument=leaf.path, value=value, origin=Origin.INVENTED)
    read = place.read
    return Source(
        argument=leaf.path,
        value=value,
        origin=place.origin,
        match=place.match,
        tool=read.tool if read else None,
        field=place.field,
        step=read.step if read else None,
        run_id=read.run_id if read else None,
        how=how,
        strangers=read.strangers if read else False,
    )
