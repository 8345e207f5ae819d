"""Provenance of an argument's value: the user's words, a trusted record, an untrusted result, or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from flightloop.content import Wire
from flightloop.shown import shown


class Origin(StrEnum):
    """Where a value comes from, strongest first."""

    USER = "user"  # the user's own words
    RECORD = "record"  # a field that a tool declares as trusted, or the signed-in subject
    RESULT = "result"  # any other text that a tool or an agent returned
    INVENTED = "invented"  # none of these

    @property
    def strength(self) -> int:
        """The higher, the more trustworthy."""
        return len(Origin) - list(Origin).index(self)


def weakest(origins: Iterable[Origin]) -> Origin:
    """The weakest origin; USER if there is none."""
    return min(origins, key=lambda origin: origin.strength, default=Origin.USER)


class Match(StrEnum):
    """How a value was found."""

    EXACT = "exact"  # as it is written
    NORMALISED = "normalised"  # in another notation: ``99 euros`` for 99.00
    COMPOSED = "composed"  # made of several values


class Source(Wire):
    """Source of one value of a call's arguments."""

    argument: str
    """Path of the value, such as ``order_id`` or ``items[0].sku``."""
    value: str
    """The value as text; long ones are cut."""
    origin: Origin
    match: Match | None = None
    tool: str | None = None
    """Tool whose result has the value; None for the user's words and the subject."""
    field: str | None = None
    """Path of the value in that result."""
    step: int | None = None
    """Step of the run in which the tool was called."""
    run_id: str | None = None
    """Run that read the result, if it is another run of the session or the calling run."""
    how: str = ""
    """How a composed value is made, such as ``the sum of 10 and 89``; or where the user's agreement is found."""
    strangers: bool = False
    """Whether the tool says that strangers write its results (``returns_untrusted``)."""

    @property
    def text(self) -> str:
        """The source in plain English, such as ``amount 99 comes from the user's words``."""
        named = f"{_line(self.argument)} {_line(self.value)}"
        if self.origin is Origin.INVENTED:
            return f"{named} occurs neither in the user's words nor in a result"
        if self.how and self.match is not Match.COMPOSED:
            return f"{named} is {self.how}"
        made = f"is {self.how}, which comes" if self.how else "comes"
        return f"{named} {made} from {self._where()}"

    def _where(self) -> str:
        if self.origin is Origin.USER:
            return "the user's words"
        if self.tool is None:
            return "the signed-in subject"
        place = f" (field {_line(self.field)})" if self.field else ""
        before = "" if self.run_id is None else f" in {self.run_id}"
        if self.origin is Origin.RECORD:
            return f"a trusted field of {_line(self.tool)}{place}{before}"
        why = "which strangers can write" if self.strangers else "which the tool does not declare as trusted"
        return f"the result of {_line(self.tool)}{place}{before}, {why}"


def _line(text: str) -> str:
    """A text of models or tools on one line, so that it can't pass for another source."""
    return shown(" ".join(text.split()))
