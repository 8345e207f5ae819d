"""Evidence from a tool's successful calls, computed once and then compared with each clause that says what was
done."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import regex

from guardrails.evidence.acts import Act, in_first_person
from guardrails.evidence.amounts import is_number
from guardrails.evidence.identifiers import MONEY, RECORD, identifiers
from guardrails.evidence.listed_values import ListedValues
from guardrails.evidence.strangers import as_json
from guardrails.text.dates import dates_in
from guardrails.text.scalars import scalar_texts
from guardrails.text.words import numbers_in, plain, plain_values
from guardrails.types import GuardContext, Past, Write

_PAST = regex.compile(
    r"\b(?:already|before|earlier|once|twice|\d+\s+times|ago)\b|^(?>.*\bsuccess)?+.*\b(?:was|were)\b", regex.IGNORECASE
)
_PART = regex.compile(r"\b(?:parts?|towards?|in\s+all|in\s+total|altogether)\b|\bof\s+(?:your|the)\b", regex.IGNORECASE)
_AMOUNT = regex.compile(r"amount|price|total|sum|cost|fee|money|eur|usd|gbp", regex.IGNORECASE)
_NO_AMOUNT = r"(?:(?:[A-Z]{3}|[€$£])?\s?0(?:[.,]0+)?\s?(?:[A-Z]{3}|[€$£])?)?"
_NOTHING = rf'(?:null|false|0(?:\.0+)?|"{_NO_AMOUNT}"|\[\s?\]|\{{\s?\}})'
_DIGITS = regex.compile(r"\d+")
_NO_FIELD = regex.compile(rf'"(?:[^"\\]|\\.){{1,100}}"\s?:\s?{_NOTHING}(?=\s?[,}}\]])')
"""A field of a JSON object with a negative value: ``"cancelled": false``, ``"refunded": "0.00 EUR"``."""
_END = regex.compile(r"\b(?:until|till|through|due|before)\b.*", regex.IGNORECASE)
"""A date after one of these words follows from the call and need not be one of its dates."""
_MANY = {"both": 2, "all": 2, "two": 2, "three": 3, "four": 4, "five": 5}
_WORDS = 30
"""Arguments of up to this many words are looked up among a clause's runs of words. Longer ones are searched as text."""


@dataclass(frozen=True)
class CallTexts:
    """Results and errors of calls, which may support a clause in addition to the calls themselves."""

    context: GuardContext
    _mentions: dict[tuple[Act, bool], list[_Told]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def parts(self) -> list[tuple[bool, str]]:
        """The texts without JSON fields that have a negative value, each with whether it is an error."""
        failed = [write.result for write in self.context.writes if write.ok is False]
        pairs = [(text.startswith("error: "), text) for text in (*self.context.results, *failed)]
        return [(refused, text if refused else _NO_FIELD.sub("", text)) for refused, text in pairs]

    def says(
        self,
        act: Act,
        numbers: frozenset[str] = frozenset(),
        amounts: frozenset[float] = frozenset(),
        *,
        wanted: bool,
    ) -> bool:
        """Whether a text says that the action was done. If it is ``wanted`` now, only errors and JSON strings count.

        Args:
            numbers: what the action was done with. Texts about something else don't count.
            amounts: sums of money, which such texts must have if they have any sums.
        """
        told = self._told(act, wanted)
        if not told or not numbers <= frozenset[str]().union(*(one.digits for one in told)):
            return False
        known = frozenset[float]().union(*(one.amounts for one in told)) if amounts else frozenset()
        return not known or amounts <= known.union({round(sum(known), 2)}, *(one.numbers for one in told))

    def many(self, act: Act, *, wanted: bool) -> int:
        """How many records or texts say that the action was done."""
        return sum(one.says for one in self._told(act, wanted))

    def _told(self, act: Act, wanted: bool) -> list[_Told]:
        """What each record or text has that says that the action was done, and numbers of the calls with such texts."""
        if (act, wanted) not in self._mentions:
            told = [_Told.of(part) for part in dict.fromkeys(_told_in(self.parts, act, wanted))]
            meant = (given for text, given in self._unrepeated if act.named.search(text)) if told else ()
            self._mentions[act, wanted] = [*told, *(_Told(given, says=False) for given in meant)]
        return self._mentions[act, wanted]

    @cached_property
    def _unrepeated(self) -> list[tuple[str, frozenset[str]]]:
        """Results and errors with numbers of their calls that they don't repeat: ``{"status": "cancelled"}`` of a call
        that asked about order 203."""
        failed = [(write.result, write.arguments) for write in self.context.writes if write.ok is False]
        reads = self.context.trail.reads if self.context.trail is not None else ()
        looked = [(_text(one.content), as_json(one.arguments)) for one in reads if one.run_id is None]
        found = []
        for text, arguments in (*failed, *looked):
            given = {_bare(value) for value in scalar_texts(arguments) if value.isdecimal()}
            given.difference_update(map(_bare, _DIGITS.findall(text)) if given else ())
            if given:
                found.append((_NO_FIELD.sub("", text), frozenset(given)))
        return found


@dataclass(frozen=True)
class _Told:
    """Numbers and sums of money of a text that says that an action was done."""

    digits: frozenset[str]
    numbers: frozenset[float] = frozenset()
    amounts: frozenset[float] = frozenset()
    says: bool = True  # False: only the numbers of a call whose text says so

    @classmethod
    def of(cls, text: str) -> _Told:
        digits = frozenset(map(_bare, _DIGITS.findall(text)))
        return cls(digits, frozenset(numbers_in(text)), money_in(text))


def money_in(text: str) -> frozenset[float]:
    """The sums of money of a text."""
    return frozenset(number for match in MONEY.finditer(text) for number in numbers_in(match[1] or match[2]))


def _bare(digits: str) -> str:
    return digits.lstrip("0")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)


def _told_in(parts: Iterable[tuple[bool, str]], act: Act, wanted: bool) -> Iterator[str]:
    """The records and texts that say that an action was done, each once."""
    for refused, text in parts:
        mentions = [
            match.start()
            for match in act.named.finditer(text)
            if not wanted or refused or text[match.start() - 1 : match.start()] == '"'
        ]
        records = [one for one in RECORD.finditer(text) if not _is_value(text, one.start())] if mentions else []
        starts = [record.start() for record in records]
        told: set[int | None] = set()
        for at in mentions:
            place = bisect_right(starts, at) - 1
            told.add(place if place >= 0 and at < records[place].end() else None)
        yield from (text if place is None else records[place].group() for place in told)


def _is_value(text: str, start: int) -> bool:
    """Whether a record is the value of a field: it tells of the object around it, ``{"id": 203, "refund": {…}}``."""
    return text[max(0, start - 4) : start].rstrip().endswith('":')


@dataclass(frozen=True)
class _Call:
    write: Write

    @cached_property
    def arguments(self) -> frozenset[str]:
        return plain_values(self.write.arguments)

    @cached_property
    def sums(self) -> frozenset[float]:
        return frozenset(float(value) for value in _given(self.write.arguments)) - {0.0}

    @cached_property
    def returned(self) -> set[float]:
        return numbers_in(self.write.result)

    @cached_property
    def dates(self) -> frozenset[tuple[int, int]]:
        given = (leaf for value in self.write.arguments.values() for leaf in scalar_texts(value))
        return dates_in(self.write.result).union(*map(dates_in, given))


class Done:
    """Calls of a run and its session that can support a clause about an action.

    Args:
        past: the rest of the session.
    """

    def __init__(self, context: GuardContext, past: Past, texts: CallTexts, act: Act, tool: str) -> None:
        own = [_Call(write) for write in (*context.writes, *past.delegated) if write.tool == tool]
        self._act, self._texts = act, texts
        self._several = _several(tool.rpartition("_")[2])
        self._succeeded = [call for call in own if call.write.ok]
        self._before = [_Call(write) for write in past.writes if write.tool == tool and write.ok]
        failed = [call for call in own if call.write.ok is False]
        self._wanted = bool(failed) or act.wanted_in(past.asked)
        self._unsure = context.unsure
        self._own, self._failed = _together(own), _together(failed)
        spec = next((one for one in context.writers if one.name == tool), None)
        self._listed = ListedValues(spec, context)
        self._phrases = _Phrases(self._own | _together(self._before))
        self._sums: dict[tuple[int, ...], tuple[set[float], set[float]]] = {}

    @property
    def at_issue(self) -> bool:
        """Whether the user wants the action now, or it was tried in this run, or may have been: a call was withheld."""
        return self._wanted or bool(self._own) or self._unsure

    def supports(self, clause: str) -> bool:
        if self.looked_up(clause):
            return True
        words = plain(clause)
        named = self._phrases.within(words)
        counted = self._counted(named)
        missed = (named & self._failed).difference(*(call.arguments for call in counted))
        if not counted or missed or not self._listed.agree(words, [call.write.arguments for call in counted]):
            return False
        if len({call.write.args_sha256 for call in (*self._succeeded, *self._before)}) < self._least(clause):
            return False
        return self._amounts_agree(clause, counted) and _dates_agree(clause, counted)

    def _least(self, clause: str) -> int:
        """The fewest calls that make a clause true: two for "both of your orders were cancelled"."""
        found = self._several.search(clause)
        return max(_MANY.get(word, 0) for word in found.group().casefold().split()) if found else 0

    def _counted(self, named: frozenset[str]) -> list[_Call]:
        """Calls that can support a clause. If the action is wanted now or was done in this run, earlier calls count
        only if the clause names one of their arguments."""
        if not (self._wanted or self._succeeded):
            return self._before
        others = named - self._own
        return self._succeeded + [call for call in self._before if not others.isdisjoint(call.arguments)]

    def looked_up(self, clause: str) -> bool:
        """Whether a clause is not in the first person, and a result or an error says that the action was done, with the
        things that the clause names by number.

        If the user wants the action now, the clause must be in the past, and an error or a JSON string must say so:
        many documents say that orders are cancelled.
        """
        if in_first_person(clause):
            return False
        numbers = identifiers(clause)
        amounts = frozenset[float]() if _PART.search(clause) else money_in(clause)
        only_told = self._wanted and not self._succeeded
        if self._texts.many(self._act, wanted=only_told) < self._least(clause):
            return False
        if only_told:
            return _PAST.search(clause) is not None and self._texts.says(self._act, numbers, amounts, wanted=True)
        return self._texts.says(self._act, numbers, amounts, wanted=False)

    def _amounts_agree(self, clause: str, calls: Sequence[_Call]) -> bool:
        """Whether a sum of money in a clause is an argument or a result of the calls, or no call has a sum."""
        stated = money_in(clause)
        if not stated:
            return True
        key = tuple(map(id, calls))
        if key not in self._sums:
            given = set[float]().union(*(call.sums for call in calls))
            returned = set[float]().union(*(call.returned for call in calls)) if given else set[float]()
            self._sums[key] = given, given | returned | {round(sum(given), 2)}
        given, known = self._sums[key]
        return not given or bool(stated & known) or _PART.search(clause) is not None


@lru_cache(maxsize=256)
def _several(noun: str) -> regex.Pattern[str]:
    of = r"(?:of|the|your|my|our|these|those|open|other|remaining|two|three|four|five)"
    return regex.compile(rf"\b(?:{'|'.join(_MANY)})\s+(?:{of}\s+){{0,4}}{regex.escape(noun)}s\b", regex.IGNORECASE)


def _dates_agree(clause: str, calls: Sequence[_Call]) -> bool:
    """Whether a date in a clause is an argument or a result of the calls, or no call has a date."""
    stated = dates_in(_END.sub(" ", clause))
    known = frozenset[tuple[int, int]]().union(*(call.dates for call in calls)) if stated else frozenset()
    return not (stated and known) or not stated.isdisjoint(known)


class _Phrases:
    """Finds many arguments in a clause, by looking up each run of its words."""

    def __init__(self, phrases: frozenset[str]) -> None:
        words = {phrase: phrase.count(" ") + 1 for phrase in phrases}
        self._short = frozenset(phrase for phrase, many in words.items() if many <= _WORDS)
        self._long = phrases - self._short
        self._lengths = sorted({words[phrase] for phrase in self._short})

    def within(self, clause: str) -> frozenset[str]:
        """The arguments that occur in a clause as whole words. Both are in the form of ``plain``."""
        words = clause.split(" ")
        runs = {" ".join(words[at : at + length]) for length in self._lengths for at in range(len(words) - length + 1)}
        spaced = f" {clause} "
        return (self._short & runs).union(phrase for phrase in self._long if f" {phrase} " in spaced)


def _together(calls: Iterable[_Call]) -> frozenset[str]:
    return frozenset[str]().union(*(call.arguments for call in calls))


def _given(arguments: dict[str, Any]) -> Iterator[float]:
    yield from (value for name, value in arguments.items() if _AMOUNT.search(name) and is_number(value))
