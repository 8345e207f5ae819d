"""Erasure of runs: what stands in the place of erased content."""

from __future__ import annotations

from flightloop.content import Part, TextPart
from flightloop.verdicts import Verdict

ERASED = "[erased]"
"""Stands in the place of an erased text."""


def erased_content() -> list[Part]:
    """What stands in the place of an erased input or output."""
    return [TextPart(text=ERASED)]


def erased_verdict(verdict: Verdict) -> Verdict:
    """The verdict without its reason, which may quote, and the places of what it found."""
    return verdict.model_copy(update={"reason": verdict.reason and ERASED, "spans": []})
