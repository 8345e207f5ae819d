"""Values that a tool's schema lists, in a sentence about the tool's calls: "booked for the afternoon"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from flightloop.tool import ToolSpec
from guardrails.evidence.schemas import Schemas
from guardrails.text.words import plain
from guardrails.types import GuardContext

SHORTEST = 4
"""Characters of a value that is looked for: "on" and "any" are words of any sentence."""
_OF_ANY_SENTENCE = frozenset(["both", "default", "none", "other", "others", "same", "unknown"])
"""Longer values of that kind: "I have cancelled the other order" names no reason."""


class ListedValues:
    """Compares the listed values that a clause names with those of the calls that it may be about.

    Args:
        context: its results and user's words may name other values: what a booking was moved from.
    """

    def __init__(self, spec: ToolSpec | None, context: GuardContext) -> None:
        self._context = context
        self._values = _values(spec) if spec is not None else {}

    def agree(self, clause: str, calls: Iterable[Mapping[str, Any]]) -> bool:
        """Whether each argument of the calls has a listed value that the clause names, or the clause names none of the
        argument's values, or one that stands in results or in the user's words.

        Args:
            clause: in the form of ``plain``.
        """
        for name, known in self._values.items():
            said = {value for value in known if f" {value} " in f" {clause} "}
            given = {plain(str(call[name])) for call in calls if name in call} if said else set()
            if given and said.isdisjoint(given) and said.isdisjoint(self._told):
                return False
        return True

    @cached_property
    def _told(self) -> frozenset[str]:
        """Listed values that stand in results or in the user's words."""
        texts = [f" {plain(text)} " for text in (self._context.user_text, *self._context.results)]
        listed = frozenset[str]().union(*self._values.values())
        return frozenset(value for value in listed if any(f" {value} " in text for text in texts))


def _values(spec: ToolSpec) -> dict[str, frozenset[str]]:
    whole = Schemas.of(spec.parameters)
    names = spec.parameters.get("properties")
    found = {name: frozenset(_long(whole.at(name).listed)) for name in (names if isinstance(names, dict) else ())}
    return {name: values for name, values in found.items() if values}


def _long(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        text = plain(value) if isinstance(value, str) else ""
        if len(text) >= SHORTEST and not text.isdigit() and text not in _OF_ANY_SENTENCE:
            yield text
