"""Cuts times of day out of an answer that stand nowhere: a small model likes to add an hour to a day.

Only a phrase that a sentence can lose is cut: "on 1 March at 10:00" becomes "on 1 March". Opening hours ("10:00 to
18:00") stay, and are left to the rail ``groundedness``.
"""

from __future__ import annotations

import regex

from flightloop.verdicts import Action, Span, Verdict
from guardrails.aside import aside
from guardrails.rail_entries import InventedTimesEntry
from guardrails.rails.detector import MOST_SPANS
from guardrails.text.times import Time, clear_times, times
from guardrails.text.words import numbers_in
from guardrails.types import Checked, GuardContext, Judgement, Rail

RAIL = "invented_times"
_BEFORE = regex.compile(
    r"(?<![\s:*•–—-]|\b(?:[Aa]t|[Bb]y|[Uu]m|[Gg]egen)|^)\s+"
    r"(?:(?:at|by|um|gegen)(?:\s+(?:about|around|circa))?|around|about)\s+$"
)
"""Goes on with a sentence, so it has no capital letter."""
_OPENS = regex.compile(r"(?:^|(?<=[.!?]\s)|(?<=\n))(?:(?:At|By)(?:\s+(?:about|around))?|Around|About)\s+$")
"""Begins a sentence that goes on without the time: "At 10:00, the driver rings"."""
_GOES_ON = regex.compile(r",?[ \t]+(?!(?:and|or)\b)(?=\p{L})")
_REST = regex.compile(
    r"(?<=[ap]\.m)\.(?=\s+(?-i:[\p{Ll}\d]|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b)|\s?[,;)])|\s?Uhr\b|h\b"
    r"|钟?(?:左右|[之以]?[前后])?",
    regex.IGNORECASE,
)
"""What belongs to a time after it. A full stop of "a.m." may end the sentence too, and stays then."""
_LONGEST_LEAD = 24
_HAN = regex.compile(r"[\p{Han}，]$")
_AFTER = regex.compile(
    r"\s*(?:-|–|to\b|and\b|until\b|bis\b|至|到)\s*\d|\s(?:minutes?|min|hours?|hrs?|long|Minuten|Stunden)\b",
    regex.IGNORECASE,
)
"""A period of opening, or a duration."""


def invented_times_rail(entry: InventedTimesEntry) -> Rail:
    """Takes times without evidence out of a text; see the module."""

    async def check(checked: Checked) -> Judgement:
        text, context = checked.text, checked.context
        places = await aside(len(text) + context.characters, _invented, text, context)
        if not places:
            return Judgement()
        shown = ", ".join(f'"{text[start:end].strip()}"' for start, end in places[:MOST_SPANS])
        verdict = Verdict(
            action=entry.action,
            rail=RAIL,
            stage=checked.stage,
            reason=f"no evidence for {shown}",
            spans=[Span(start=start, end=end, label="invented_time") for start, end in places[:MOST_SPANS]],
        )
        return Judgement((verdict,), text=_without(text, places) if entry.action is Action.REDACT else None)

    return check


def _invented(text: str, context: GuardContext) -> list[tuple[int, int]]:
    """Places of phrases with a time that the model can't know, in order."""
    stated = clear_times(text)
    if not stated:
        return []
    evidence = "\n".join([context.instructions, context.user_text, *context.answered, *context.results])
    known, numbers = times(evidence), numbers_in(evidence)
    found = []
    for start, end, readings in stated:
        if known & readings or any(_is_full_hour(one, numbers) for one in readings) or _AFTER.match(text, end):
            continue
        if (place := _phrase(text, start, end)) is not None:
            found.append(place)
    return found


def _phrase(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The phrase that a sentence can lose with the time at a place; None if there is none."""
    first = max(0, start - _LONGEST_LEAD)
    end = rest.end() if (rest := _REST.match(text, end)) is not None else end
    if (lead := _BEFORE.search(text, first, start)) is not None:
        return lead.start(), end
    if (lead := _OPENS.search(text, first, start)) is not None:
        goes_on = _GOES_ON.match(text, end)
        return (lead.start(), goes_on.end()) if goes_on is not None else None
    return (start, end) if _HAN.search(text, max(0, start - 1), start) else None


def _is_full_hour(time: Time, numbers: set[float]) -> bool:
    """Whether the time is an hour that stands somewhere as a number ("from 8 to 18")."""
    return time.minute == 0 and time.hour in numbers


def _without(text: str, places: list[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in places:
        kept.append(text[at:start])
        at = end
        if start == 0 or text[start - 1].isspace():  # the phrase began a sentence
            kept.append(text[at : at + 1].upper())
            at += 1
    return "".join([*kept, text[at:]])
