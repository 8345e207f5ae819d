"""Reads the user's messages: dates relative to the day of writing, and agreement to the agent's questions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flightloop.provenance import Match
from guardrails.evidence.agreed import agreed_question
from guardrails.text.calendar_dates import without_dates
from guardrails.text.wordings import Wanted, Wordings
from guardrails.types import GuardContext, Utterance

AGREED = "in the agent's question to which the user agreed"
_EARLIEST, _LATEST = timedelta(hours=-12), timedelta(hours=14)
"""Time zones furthest from UTC."""


@dataclass(frozen=True)
class Spoken:
    """The user's messages, read with their time and with the answers before them.

    Attributes:
        messages: each with the time of its writing.
        elsewhere: the same on the days that it may have been for a user whose time zone is unknown.
        questions: questions of the agent that the user agreed to, and the same without dates.
    """

    messages: tuple[Wordings, ...]
    elsewhere: tuple[Wordings, ...]
    questions: tuple[tuple[Wordings, Wordings], ...]

    @classmethod
    def of(cls, context: GuardContext) -> Spoken:
        """Prepared once for the same messages of a run."""
        found = context.memo.get((Spoken, context.said))
        if not isinstance(found, Spoken):
            asked = [(one, question) for one in context.said if (question := agreed_question(one)) is not None]
            context.memo[Spoken, context.said] = found = cls(
                tuple(Wordings(one.text, now=one.at) for one in context.said),
                tuple(wordings for one in context.said for wordings in _elsewhere(one)),
                tuple(
                    (Wordings(question, now=one.at), Wordings(without_dates(question), sparing=True))
                    for one, question in asked
                ),
            )
        return found

    def names(self, wanted: Wanted) -> bool:
        """Whether a message names a day or a time of day, by its distance from then too."""
        return any(_names(one, wanted) for one in self.messages)

    def may_name(self, wanted: Wanted) -> bool:
        """Whether a message names a day where the user may be."""
        return any(one.has_date(wanted) for one in self.elsewhere)

    def agreed_to(self, wanted: Wanted) -> Match | None:
        """How a question that the user agreed to shows a value."""
        amount = wanted.amount is not None and wanted.date is None
        found = (without.match(wanted) if amount else whole.match(wanted) for whole, without in self.questions)
        return next((match for match in found if match), None)


def _names(text: Wordings, wanted: Wanted) -> bool:
    return text.has_date(wanted) or (wanted.date is None and text.has_time(wanted))


def _elsewhere(said: Utterance) -> list[Wordings]:
    if said.zoned:
        return []
    moments = {(said.at + shift).date(): said.at + shift for shift in (_EARLIEST, _LATEST)}
    return [Wordings(said.text, now=at) for day, at in moments.items() if day != said.at.date()]
