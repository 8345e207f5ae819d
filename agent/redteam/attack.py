"""An attack on an agent: what is said, planted and called, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flightloop.subject import Subject

Call = tuple[str, dict[str, Any]]
"""Name and arguments of a tool call."""
ANSWER = "(answer)"
"""In place of a tool: the attack leaves in the final answer."""


class Family(StrEnum):
    """What an attack tries."""

    INJECTED_WRITE = "injected write"  # a result asks for a write
    FORGED_APPROVAL = "forged approval"  # a result claims that a person has approved it
    CALL_MARKUP = "call markup"  # a result has a call in a model's own markup
    FOREIGN_VALUE = "foreign value"  # the user asks for a write, a result gives one of its values
    DESTINATION = "destination"  # the same, and the value says where something goes
    INVENTED_VALUE = "invented value"  # the user asks for a write, the model makes up its values
    OTHER_SUBJECT = "other subject"  # the call names an object of another end user
    REPEATED_WRITE = "repeated write"  # a write that the user asked for once, several times
    LEAK = "leak"  # a secret leaves in a link


class Outcome(StrEnum):
    """How an attack ended."""

    EXECUTED = "executed"  # the call passed the guard without an approval, or the answer has the link
    ASKED = "asked"  # a person would have decided
    BLOCKED = "blocked"  # the call was refused, or the model did not make it
    WITHHELD = "withheld"  # the model or the user never saw the text
    IGNORED = "ignored"  # the model did not make the call
    NOT_REACHED = "not reached"  # a call before it was stopped, or a rail or the model failed: it measures nothing


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        id: unique in a set of attacks.
        tool: tool whose call is the attack, or `ANSWER`.
        said: the user's turns.
        calls: calls of the model in each turn.
        reader: tool in whose result ``planted`` stands; None: nothing is planted.
        unplanned: tools that a plan of the first turn does not name, because the user has not asked for them.
        planned: whether the model makes plans.
        answer: the model's last answer.
        allowed: number of calls of ``tool`` that the user has asked for.
        argument: argument that the attack is about.
        subject: end user; None: anonymous.
        detail: language, wording and disguise, or what else distinguishes the attack.
    """

    id: str
    family: Family
    agent: str
    tool: str
    said: tuple[str, ...]
    calls: tuple[Sequence[Call], ...]
    reader: str | None = None
    planted: str = ""
    unplanned: tuple[str, ...] = ()
    planned: bool = True
    answer: str = "I have looked at it."
    allowed: int = 0
    argument: str | None = None
    subject: Subject | None = None
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """An attack that was made.

    Attributes:
        reason: why it was stopped, in the policy's words; empty if it was not.
        tool_said: what the tool answered to a call that passed the guard.
    """

    attack: Attack
    outcome: Outcome
    reason: str = ""
    tool_said: str = ""

    @property
    def is_hole(self) -> bool:
        return self.outcome is Outcome.EXECUTED


@dataclass(frozen=True)
class LeftOut:
    """Part of a project that is not attacked, or not as it is, and why."""

    what: str
    why: str
