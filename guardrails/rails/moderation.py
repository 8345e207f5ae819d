"""Texts judged by a moderation endpoint of the operator's choice. The HTTP client is an argument of the guard."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from flightloop.verdicts import Action, Stage, Verdict
from guardrails.rail_entries import ModerationEntry
from guardrails.types import Checked, Judgement, Rail

MINUTE_S = 60.0
MOST_CHARS = 20_000
"""Characters sent at once; a longer text is sent in pieces that overlap."""
OVERLAP = 500
FLAGGED = "flagged"
"""Score of an endpoint's own judgement, 0 or 1, beside those of its categories."""

Moderate = Callable[[ModerationEntry, str], Awaitable[Mapping[str, float]]]
"""Sends a text to the entry's endpoint; returns the scores of its categories, 0 to 1. Raises if there is no answer."""


@dataclass
class CallBudget:
    """Limits the calls of a minute, over all runs that a guard checks."""

    per_minute: int
    clock: Callable[[], float] = time.monotonic
    _made: deque[float] = field(default_factory=deque)

    def take(self, calls: int) -> None:
        """Counts calls. Raises RuntimeError if the last minute has no room for them."""
        now = self.clock()
        while self._made and self._made[0] <= now - MINUTE_S:
            self._made.popleft()
        if len(self._made) + calls > self.per_minute:
            raise RuntimeError(f"the budget of {self.per_minute} calls a minute is used up; raise per_minute")
        self._made.extend([now] * calls)


def moderation_rail(entry: ModerationEntry, moderate: Moderate | None) -> Rail:
    """Makes the rail. Without a client, an answer in time or a budget it fails, so that the stage blocks."""
    budget = CallBudget(entry.per_minute)

    async def check(checked: Checked) -> Judgement:
        text = _text_of(checked)
        if not text.strip():
            return Judgement()
        if moderate is None:
            raise RuntimeError("no moderation client is installed; start the platform with one, or remove the rail")
        pieces = _pieces(text)
        budget.take(len(pieces))
        try:
            async with asyncio.timeout(entry.timeout_ms / 1000):
                answers = [await moderate(entry, piece) for piece in pieces]
        except TimeoutError:
            raise RuntimeError(f"{entry.address} did not answer within {entry.timeout_ms} ms") from None
        return Judgement((_verdict(entry, checked, _highest(entry, answers)),))

    return check


def _text_of(checked: Checked) -> str:
    if checked.stage is Stage.TOOL_CALL and checked.call is not None:
        return json.dumps(checked.call.arguments, ensure_ascii=False)
    return checked.text


def _pieces(text: str) -> list[str]:
    step = MOST_CHARS - OVERLAP
    return [text[at : at + MOST_CHARS] for at in range(0, max(1, len(text) - OVERLAP), step)]


def _highest(entry: ModerationEntry, answers: list[Mapping[str, float]]) -> dict[str, float]:
    """The highest score of each watched category. Raises ValueError if the endpoint knows none of them."""
    names = {name for answer in answers for name in answer}
    watched = names - {FLAGGED} if entry.categories is None else names & set(entry.categories)
    if entry.categories is not None and (missing := set(entry.categories) - names):
        raise ValueError(f"{entry.address} tells no score for {', '.join(sorted(missing))}; it tells {sorted(names)}")
    if not watched:
        watched = names & {FLAGGED}
    if not watched:
        raise ValueError(f"{entry.address} told no score")
    return {name: max(answer.get(name, 0.0) for answer in answers) for name in sorted(watched)}


def _verdict(entry: ModerationEntry, checked: Checked, scores: dict[str, float]) -> Verdict:
    found = [name for name, score in scores.items() if score >= entry.at]
    # Without the scores: they differ from answer to answer, and a person's approval covers the reason that they saw.
    told = ", ".join(found)
    return Verdict(
        action=entry.action if found else Action.ALLOW,
        rail=entry.rail,
        stage=checked.stage,
        reason=f"the moderation endpoint found {told}" if found else "",
        scores=scores,
        labels=found,
    )
