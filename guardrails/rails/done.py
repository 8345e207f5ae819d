"""What the calls of a tool bear out: worked out once, then asked about each clause that says what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import regex

from guardrails.rails.acts import Act, in_first_person
from guardrails.rails.amounts import is_number
from guardrails.rails.dates import dates_in
from guardrails.rails.found import leaves
from guardrails.rails.words import numbers_in, plain
from guardrails.types import GuardContext, Past, Write

MONEY = regex.compile(
    r"(?:[€$£]|\b(?:EUR|USD|GBP))\s?(\d[\d.,]*\d|\d)"
    r"|(?<![\d.,])[.,]*+(\d[\d.,]*+)(?<=\d)\s?(?:[€$£]|(?:EUR|USD|GBP|euros?|dollars?|pounds?)\b)",
    regex.IGNORECASE,
)
"""Digits are read once, from the first of them: from each, it would take the square of their number."""
_PAST = regex.compile(
    r"\b(?:already|before|earlier|once|twice|\d+\s+times|ago)\b|^(?>.*\bsuccess)?+.*\b(?:was|were)\b", regex.IGNORECASE
)
_PART = regex.compile(r"\b(?:parts?|towards?|in\s+all|in\s+total|altogether)\b|\bof\s+(?:your|the)\b", regex.IGNORECASE)
_AMOUNT = regex.compile(r"amount|price|total|sum|cost|fee|money|eur|usd|gbp", regex.IGNORECASE)
_NO_FIELD = regex.compile(r'"(?:[^"\\]|\\.){1,100}"\s?:\s?(?:null|false|0(?:\.0+)?|""|\[\s?\]|\{\s?\})(?=\s?[,}\]])')
"""A field of a JSON object that says no: ``"cancelled": false``."""
_END = regex.compile(r"\b(?:until|till|through|due|before)\b.*", regex.IGNORECASE)
"""A date behind one of these follows from the call's, and need not be one of them."""
_WORDS = 30
"""Of an argument that is looked for among the runs of a clause's words; a longer one is looked for by itself."""


@dataclass(frozen=True)
class Told:
    """Results, and errors of calls: what a clause may rest on beside the calls themselves."""

    context: GuardContext

    @cached_property
    def texts(self) -> list[tuple[bool, str]]:
        """Whether each one is an error, and what of it says that something is so."""
        failed = [write.told for write in self.context.writes if write.ok is False]
        pairs = [(text.startswith("error: "), text) for text in (*self.context.results, *failed)]
        return [(refused, text if refused else _NO_FIELD.sub("", text)) for refused, text in pairs]

    def says(self, act: Act, *, wanted: bool) -> bool:
        """Whether one says that it was done. Where it is ``wanted`` now, a field or value or an error has to."""
        return any(
            not wanted or refused or text[match.start() - 1 : match.start()] == '"'
            for refused, text in self.texts
            for match in act.named.finditer(text)
        )


@dataclass(frozen=True)
class _Call:
    write: Write

    @cached_property
    def arguments(self) -> frozenset[str]:
        leaf_texts = (leaf for value in self.write.arguments.values() for leaf in leaves(value))
        return frozenset(text for leaf in leaf_texts if (text := plain(leaf)))

    @cached_property
    def sums(self) -> frozenset[float]:
        return frozenset(float(value) for value in _given(self.write.arguments)) - {0.0}

    @cached_property
    def returned(self) -> set[float]:
        return numbers_in(self.write.told)

    @cached_property
    def dates(self) -> frozenset[tuple[int, int]]:
        given = (leaf for value in self.write.arguments.values() for leaf in leaves(value))
        return dates_in(self.write.told).union(*map(dates_in, given))


class Done:
    """
    Args:
        past: the session beside the run.
    """

    def __init__(self, context: GuardContext, past: Past, told: Told, act: Act, tool: str) -> None:
        own = [_Call(write) for write in (*context.writes, *past.delegated) if write.tool == tool]
        self._act, self._told = act, told
        self._succeeded = [call for call in own if call.write.ok]
        self._before = [_Call(write) for write in past.writes if write.tool == tool and write.ok]
        failed = [call for call in own if call.write.ok is False]
        self._wanted = bool(failed) or act.wanted_in(past.asked)
        self._own, self._failed = _together(own), _together(failed)
        self._phrases = _Phrases(self._own | _together(self._before))
        self._sums: dict[tuple[int, ...], tuple[set[float], set[float]]] = {}

    def supports(self, clause: str) -> bool:
        if self.looked_up(clause):
            return True
        named = self._phrases.within(plain(clause))
        counted = self._counted(named)
        missed = (named & self._failed).difference(*(call.arguments for call in counted))
        return bool(counted) and not missed and self._amounts_agree(clause, counted) and _dates_agree(clause, counted)

    def _counted(self, named: frozenset[str]) -> list[_Call]:
        """Where there is something to do now, what was done before is meant if the clause names an argument of it."""
        if not (self._wanted or self._succeeded):
            return self._before
        others = named - self._own
        return self._succeeded + [call for call in self._before if not others.isdisjoint(call.arguments)]

    def looked_up(self, clause: str) -> bool:
        """Whether a clause says of nobody that they did it, and a result that it was, or a tool refused since it was.

        Where it was wanted now, the clause must be about the past and a field or value must say so: many a document
        says that orders are cancelled.
        """
        if in_first_person(clause):
            return False
        if self._wanted and not self._succeeded:
            return _PAST.search(clause) is not None and self._said_now
        return self._said

    @cached_property
    def _said(self) -> bool:
        return self._told.says(self._act, wanted=False)

    @cached_property
    def _said_now(self) -> bool:
        return self._told.says(self._act, wanted=True)

    def _amounts_agree(self, clause: str, calls: Sequence[_Call]) -> bool:
        """Whether a sum of money in a clause is one of those that calls with a sum were made with, or returned."""
        stated = {number for match in MONEY.finditer(clause) for number in numbers_in(match[1] or match[2])}
        if not stated:
            return True
        key = tuple(map(id, calls))
        if key not in self._sums:
            given = set[float]().union(*(call.sums for call in calls))
            returned = set[float]().union(*(call.returned for call in calls)) if given else set[float]()
            self._sums[key] = given, given | returned | {round(sum(given), 2)}
        given, known = self._sums[key]
        return not given or bool(stated & known) or _PART.search(clause) is not None


def _dates_agree(clause: str, calls: Sequence[_Call]) -> bool:
    """Whether a date in a clause is one of those that calls with a date were made with, or returned."""
    stated = dates_in(_END.sub(" ", clause))
    known = frozenset[tuple[int, int]]().union(*(call.dates for call in calls)) if stated else frozenset()
    return not (stated and known) or not stated.isdisjoint(known)


class _Phrases:
    """Arguments, to be looked for in many clauses: in each, the runs of its words are looked up among them."""

    def __init__(self, phrases: frozenset[str]) -> None:
        words = {phrase: phrase.count(" ") + 1 for phrase in phrases}
        self._short = frozenset(phrase for phrase, many in words.items() if many <= _WORDS)
        self._long = phrases - self._short
        self._lengths = sorted({words[phrase] for phrase in self._short})

    def within(self, clause: str) -> frozenset[str]:
        """Those that stand in a clause as whole words; ``plain`` has been called on both."""
        words = clause.split(" ")
        runs = {" ".join(words[at : at + length]) for length in self._lengths for at in range(len(words) - length + 1)}
        spaced = f" {clause} "
        return (self._short & runs).union(phrase for phrase in self._long if f" {phrase} " in spaced)


def _together(calls: Iterable[_Call]) -> frozenset[str]:
    return frozenset[str]().union(*(call.arguments for call in calls))


def _given(arguments: dict[str, Any]) -> Iterator[float]:
    yield from (value for name, value in arguments.items() if _AMOUNT.search(name) and is_number(value))
