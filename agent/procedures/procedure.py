"""Procedure port: a pure function from a run's history to its next step.

An agent with a procedure does not let the model choose tools. The procedure asks the model for a text, and has the
answer checked by calls of tools. Decision, intents and results are journaled as in any run, so a worker that takes over
a run goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.run.history import Turn


class Unusable(Exception):
    """The model's answer can't be used; the message says why."""


@dataclass(frozen=True)
class ToolUse:
    """A call to make."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Outline:
    """Journals what will be done, as a plan."""

    goal: str
    tools: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """Asks the model for a text. ``read`` turns the answer into calls that check it, and may raise `Unusable`."""

    label: str
    """What is asked for; journaled with the decision."""
    messages: Sequence[tuple[str, str]]
    """Roles and texts, after the agent's instructions."""
    read: Callable[[str], list[ToolUse]]
    temperature: float
    seed: int
    max_tokens: int | None = None
    """Longest answer; None: as the agent's file says."""
    opening: str | None = None
    """Text that the answer begins with, where the model's server can force it."""
    never: tuple[str, ...] = ()
    """Texts that the answer does not contain, where the server can mask them."""


@dataclass(frozen=True)
class Check:
    """Calls tools without asking the model."""

    label: str
    calls: list[ToolUse]


@dataclass(frozen=True)
class Finish:
    """Ends the run with an answer."""

    text: str


Step = Outline | Ask | Check | Finish


@dataclass(frozen=True)
class Progress:
    """What a procedure sees."""

    text: str
    """The run's input as the guard passed it."""
    turns: Sequence[Turn]
    steps_left: int
    """Decisions that the budget leaves, including the last one."""


class Procedure(Protocol):
    def next(self, progress: Progress) -> Step: ...
