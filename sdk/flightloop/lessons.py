"""Lessons: conversations with right answers, which a project makes and the platform plays.

A project's ``lessons/cases.py`` makes them (docs/tuning.md). The platform plays each case in the real loop, with the
real gate, policy and tools; its solution takes the model's place.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Skipped where the loop does not ask for a plan."""

    goal: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Say:
    """The answer; ends the run."""

    text: str


@dataclass(frozen=True)
class Outcome:
    """What the model read of a call: ``value`` is the result's JSON, or the error's sentence."""

    ok: bool
    value: Any


Step = Plan | Call | Say
Solution = Generator[Step, Outcome, None]
"""Yields the steps of one run in order; a call gets its outcome."""
Saying = Generator[Step, Outcome, str]
"""A part of a solution; returns the words that tell the customer about it."""


@dataclass(frozen=True)
class Turn:
    """What the customer says, and how it is to be solved. ``intent``: where it is not the case's."""

    said: str
    solution: Solution
    intent: str = ""


@dataclass(frozen=True)
class Case:
    """One conversation. ``denied``: why the operator says no to what a rule asks; None: the operator agrees."""

    intent: str
    turns: tuple[Turn, ...]
    denied: str | None = None


class NoCase(Exception):
    """A case can't be made or played to its end: the data or the tools don't give what it is about. It is left out."""


def reply(text: str, goal: str) -> Solution:
    """An answer without any tool."""
    yield Plan(goal)
    yield Say(text)


def planned(goal: str, tools: tuple[str, ...], saying: Saying) -> Solution:
    """One wish as a whole solution."""
    yield Plan(goal, tools)
    text = yield from saying
    yield Say(text)
