"""A customer's style of writing: openings, closings, unrelated sentences, letter case and typos."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .phrases import CHINESE, ENGLISH, Phrases, fields_of

SLIPS, SHOUTS = 0.08, 0.03
OPENED, CLOSED, REASONED, BESIDE = 0.18, 0.14, 0.25, 0.08
CAPITALS = 0.5
"""Shares of the English messages that have each variation."""
OWN = {"email", "address", "name"}
"""Slots whose letter case matters, so that messages with them aren't put in capitals."""
_SLOT = re.compile(r"\{\w+\}")
_CHANGES: tuple[Callable[[str], str], ...] = (lambda two: two[::-1], lambda two: two[1], lambda two: two[0] + two)


@dataclass(frozen=True)
class Voice:
    random: Random
    phrases: Phrases
    language: str

    def say(self, wording: str, slots: dict[str, Any], reasons: Sequence[str] = ()) -> str:
        """Fills a wording's slots and, in English, varies its style. ``reasons``: sentences that may be added."""
        orders = {key: self._order(slots[key]) for key in ("number", "other") if key in slots}
        filled = {**slots, "order": orders.get("number"), "other": orders.get("other")}
        if self.language != ENGLISH:
            return wording.format(**filled)
        own = OWN & fields_of(wording)
        text = (_slipped(wording, self.random) if self._chance(SLIPS) else wording).format(**filled)
        if self._chance(CAPITALS) and not wording.startswith(("{email}", "{address}")):
            text = text[:1].upper() + text[1:]
        if self._chance(SHOUTS) and not own:
            return text.upper()
        return self._adorned(self._beside(text, reasons))

    def _beside(self, text: str, reasons: Sequence[str]) -> str:
        """May add a reason, and a sentence that has nothing to do with the request."""
        for share, sentences in ((REASONED, reasons), (BESIDE, self.phrases.scenery["noise"])):
            if sentences and self._chance(share):
                sentence = self.random.choice(sentences)
                text = f"{_ended(text)} {sentence}" if self._chance(0.5) else f"{sentence} {text}"
        return text

    def _adorned(self, text: str) -> str:
        if self._chance(OPENED):
            text = f"{self.random.choice(self.phrases.scenery['openings'])} {text}"
        if self._chance(CLOSED):
            text = f"{_ended(text)} {self.random.choice(self.phrases.scenery['closings'])}"
        return text

    def _order(self, number: int) -> str:
        written = self.phrases.scenery.get({ENGLISH: "order", CHINESE: "order_zh"}.get(self.language, ""), ("{n}",))
        return self.random.choice(written).format(n=number)

    def _chance(self, share: float) -> bool:
        return self.random.random() < share


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _slipped(wording: str, random: Random) -> str:
    """Makes one typo outside the slots: swaps two letters, drops one or doubles one."""
    fixed = {index for match in _SLOT.finditer(wording) for index in range(*match.span())}
    places = [
        index
        for index in range(1, len(wording) - 1)
        if not fixed & {index, index + 1} and wording[index - 1 : index + 2].isalpha()
    ]
    if not places:
        return wording
    place = random.choice(places)
    changed = random.choice(_CHANGES)(wording[place : place + 2])
    return wording[:place] + changed + wording[place + 2 :]
