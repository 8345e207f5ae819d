"""Compares the numbers and things that a claim names with those of the calls that support it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

import regex

from flightloop.tool import ToolSpec
from guardrails.evidence.acts import Act, joined
from guardrails.evidence.identifiers import RECORD, identifiers
from guardrails.text.scalars import scalar_texts
from guardrails.text.verbs import noun_of
from guardrails.text.words import plain
from guardrails.types import GuardContext, Write

_DIGITS = regex.compile(r"\d+")
_FIELD = regex.compile(r"(?<=[:\[,]\s?\"?)\d+(?=\"?\s?[,}\]])")
_DETERMINER = r"(?:the|a|an|your|my|our|his|her|their|this|that|another|one)"
_ADJECTIVES = r"\s+(?:[\w'’.-]{1,30}\s+){0,2}?"


class Objects:
    """Numbers and things that the successful calls were about.

    Args:
        writes: the session's calls that change something.
        acts: acts of the agent's tools, by tool name.
    """

    def __init__(self, context: GuardContext, writes: Iterable[Write], acts: Mapping[str, Act]) -> None:
        self._context, self._acts = context, acts
        self._writes = [write for write in writes if write.ok]
        self._numbers: dict[str, frozenset[str]] = {}
        self._spoken: dict[str, bool] = {}

    def agree(self, clause: str, tools: Collection[str]) -> bool:
        """Whether the numbers and things that a clause names belong to calls of these tools."""
        numbers = identifiers(clause)
        known = (number for tool in tools for number in self._numbers_of(tool)) if numbers else ()
        return numbers <= frozenset(known) and not self._of_others(clause, tools)

    def _numbers_of(self, tool: str) -> frozenset[str]:
        """Numbers in a tool's calls, and in the records of results about the same things."""
        if tool not in self._numbers:
            calls = [write for write in self._writes if write.tool == tool]
            values = [leaf for call in calls for value in call.arguments.values() for leaf in scalar_texts(value)]
            texts = [*values, *(call.result for call in calls)]
            names = {value for value in values if value.isdecimal()}
            names.update(digits for call in calls for digits in _FIELD.findall(call.result))
            records = (record for result in self._context.results for record in RECORD.findall(result))
            texts += [record for record in records if not names.isdisjoint(_FIELD.findall(record))]
            self._numbers[tool] = frozenset(digits.lstrip("0") for text in texts for digits in _DIGITS.findall(text))
        return self._numbers[tool]

    def _of_others(self, clause: str, tools: Collection[str]) -> bool:
        """Whether a clause is about a thing of another tool, which was not called: "the refill is booked".

        False if the clause also names a thing of ``tools``, or if a call or a result contains the word.
        """
        words = set(plain(clause).split())
        own = [spec for spec in self._context.writers if spec.name in tools]
        if any(not words.isdisjoint((noun, noun + "s")) for spec in own for noun in _nouns(spec)):
            return False
        others = [spec for spec in self._context.writers if spec.name not in tools]
        named = {noun for spec in others for noun in _nouns(spec) if not words.isdisjoint((noun, noun + "s"))}
        meant = [noun for noun in named if any(_about(noun, self._acts[tool].past).search(clause) for tool in tools)]
        made = {write.tool for write in self._writes}
        known = {word for spec in own for word in _words(spec)}
        known.update(noun for spec in others if spec.name in made for noun in _nouns(spec))
        verbs = {verb for tool in tools for verb in self._acts[tool].verbs}
        deeds = regex.compile("|".join(map(noun_of, verbs)) or "(?!)")  # `reserve_room` makes a reservation
        return any(noun not in known and not deeds.fullmatch(noun) and not self._is_spoken(noun) for noun in meant)

    def _is_spoken(self, noun: str) -> bool:
        if noun not in self._spoken:
            given = (
                leaf for write in self._writes for value in write.arguments.values() for leaf in scalar_texts(value)
            )
            texts = (*self._context.results, *(write.result for write in self._writes), *given)
            self._spoken[noun] = any(noun in text.casefold() for text in texts)
        return self._spoken[noun]


def _nouns(spec: ToolSpec) -> list[str]:
    """The words after the verb in a tool's name."""
    return [word for word in _name(spec)[1:] if len(word) > 3]


def _name(spec: ToolSpec) -> list[str]:
    return [word.casefold() for word in regex.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", spec.name)]


def _words(spec: ToolSpec) -> Iterator[str]:
    """Words that may refer to a tool."""
    for word in (*_name(spec), *plain(spec.description).split(), *spec.parameters.get("properties", {})):
        yield from (word, word.removesuffix("s"))


@lru_cache(maxsize=1024)
def _about(noun: str, past: tuple[str, ...]) -> regex.Pattern[str]:
    """Matches clauses in which something was done with the thing."""
    done = rf"\b(?:{joined(past)})\b"
    begin = rf"^\W*(?:(?:yes|ok(?:ay)?|also|and|so|done)\W+){{0,2}}(?:{_DETERMINER}{_ADJECTIVES})?"
    thing = rf"{_DETERMINER}{_ADJECTIVES}{noun}s?\b"
    return regex.compile(rf"{begin}{noun}s?\b.*{done}|{done}\s+{thing}", regex.IGNORECASE)
