"""Lessons: training conversations with known right answers.

A project's ``lessons/cases.py`` generates the cases (docs/tuning.md). The platform runs each case in the real agent
loop, with the project's policy and tools; the case's solution replaces the model.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """The step that answers the loop's request for a plan; skipped if the loop requests none."""

    goal: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Say:
    """The step that answers the user and ends the run."""

    text: str


@dataclass(frozen=True)
class Outcome:
    """Result of a call as the model sees it. ``value``: the result's JSON, or the error message if not ``ok``."""

    ok: bool
    value: Any


Step = Plan | Call | Say
Solution = Generator[Step, Outcome, None]
"""Yields the steps of one run in order. A call's outcome is sent back to the generator."""
Saying = Generator[Step, Outcome, str]
"""Part of a solution; returns the text for the customer."""


@dataclass(frozen=True)
class Turn:
    """A customer's message and its solution. ``intent``: the message's intent if it differs from the case's."""

    said: str
    solution: Solution
    intent: str = ""


@dataclass(frozen=True)
class Case:
    """One conversation. ``denied``: reason with which calls that need approval are denied; None: they are approved."""

    intent: str
    turns: tuple[Turn, ...]
    denied: str | None = None


class NoCase(Exception):
    """The case can't be made or completed, because the data or tools lack what it needs. The platform skips it."""


def reply(text: str, goal: str) -> Solution:
    """A solution that answers without calling a tool."""
    yield Plan(goal)
    yield Say(text)


def planned(goal: str, tools: tuple[str, ...], saying: Saying) -> Solution:
    """A solution for one request: the plan, then the steps of ``saying``, then the text that ``saying`` returns."""
    yield Plan(goal, tools)
    text = yield from saying
    yield Say(text)
