"""Section ``limits`` of a policy: sums and counts of calls over time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flightloop.verdicts import Action
from guardrails.approval_rule import WrittenApprovalRule
from guardrails.subject_policy import Name

LARGEST = 1_000_000_000
"""Largest limit, and largest amount that is counted."""
SUBJECT, SESSION, AGENT, TENANT, DAY = "subject", "session", "agent", "tenant", "day"
KEYS = (SUBJECT, SESSION, AGENT, TENANT, DAY)
"""Keys that are not arguments."""
OWNER = ".owner"
"""Ending of a key that stands for the owner of the object that an argument names."""
FOREVER = "forever"
ANY_TOOL = "*"
_DURATION = re.compile(r"([1-9]\d{0,4})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
LONGEST_DAYS = 3660
Scalar = str | int | float | bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LookUpRule(_Strict):
    """Where an amount comes from that is omitted or equals one of ``when``; like ``ReadRule`` of an ask rule."""

    when: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    key: Name
    field: Name


class LimitRule(_Strict):
    """A limit on the calls of some tools together, over time.

    With ``sum``, on the sum of an argument's values, which is at most ``maximum``; with ``count``, on their number.
    """

    tools: tuple[Name, ...] = Field(min_length=1)
    """Tools whose calls count together, or ``*``."""
    sum: Name | None = None
    """Argument whose values are added up."""
    maximum: Annotated[Decimal, Field(ge=0, le=LARGEST, max_digits=15, decimal_places=6)] | None = None
    """Largest sum."""
    count: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    """Largest number of calls."""
    per: tuple[Name, ...] = ()
    """Keys whose values each have their own sum or count: ``subject``, ``session``, ``agent``, ``day`` (in UTC), an
    argument such as ``order_id``, or ``order_id.owner``. Empty: the tenant."""
    window: str = FOREVER
    """Which calls count: those within ``30m``, ``12h`` or ``7d``, all of the ``session``, or all (``forever``)."""
    unit: dict[Name, Scalar] = Field(default_factory=dict, max_length=1)
    """Argument with the amount's unit, and the value that it must have, such as ``{currency: EUR}``. Amounts in other
    units can't be counted."""
    read: LookUpRule | None = None
    """Where the amount comes from if it is omitted."""
    action: Literal[Action.ASK, Action.BLOCK] = Action.BLOCK
    """Action on a call that the limit leaves no room for."""
    reason: str = ""
    """Begins the verdict's reason."""
    approval: WrittenApprovalRule | None = None
    """Who must decide, with ``action: ask``; None: as ``tools.approval`` says."""

    @field_validator("count", "maximum", mode="before")
    @classmethod
    def _is_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number")
        return Decimal(repr(value)) if isinstance(value, float) else value

    @field_validator("window")
    @classmethod
    def _readable(cls, value: str) -> str:
        if value in (FOREVER, SESSION):
            return value
        match = _DURATION.fullmatch(value)
        if match is None or int(match[1]) * _SECONDS[match[2]] > LONGEST_DAYS * 86_400:
            raise ValueError(
                f"{value!r} is not a window: write 30m, 12h or 7d (a number with m, h or d, at most {LONGEST_DAYS}d),"
                " session, or forever"
            )
        return value

    @model_validator(mode="after")
    def _complete(self) -> LimitRule:
        if (self.sum is None) == (self.count is None):
            raise ValueError('"sum" or "count" is required, but not both')
        if (self.sum is None) != (self.maximum is None):
            raise ValueError('"maximum" is required with "sum", and is not possible with "count"')
        if self.count is not None and (self.unit or self.read is not None):
            raise ValueError('"unit" and "read" need "sum": a count has no amounts')
        if self.approval is not None and self.action is not Action.ASK:
            raise ValueError('"approval" needs "action: ask"')
        if self.sum is not None and ANY_TOOL in self.tools:
            raise ValueError('"sum" needs the tools by name: not every tool has the argument')
        for names, field in ((self.tools, "tools"), (self.per, "per")):
            if len(set(names)) < len(names):
                raise ValueError(f'"{field}" names something twice')
        if DAY in self.per and self.window != FOREVER:
            raise ValueError('"per: [day]" counts each calendar day by itself, so it has no "window"')
        return self

    @property
    def most(self) -> Decimal:
        """The largest sum or count."""
        return Decimal(self.count) if self.count is not None else self.maximum or Decimal(0)

    @property
    def seconds(self) -> float | None:
        """Length of the window; None: unlimited."""
        match = _DURATION.fullmatch(self.window)
        return float(int(match[1]) * _SECONDS[match[2]]) if match else None

    @property
    def keys(self) -> tuple[str, ...]:
        """``per``, and the session if the window is the session."""
        return (*self.per, SESSION) if self.window == SESSION and SESSION not in self.per else self.per

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments among the keys."""
        return tuple(name.removesuffix(OWNER) for name in self.keys if name not in KEYS)

    @property
    def needs_owner(self) -> bool:
        """Whether owners of objects have to be found."""
        return any(name.endswith(OWNER) for name in self.per)

    def applies_to(self, tool: str) -> bool:
        return tool in self.tools or ANY_TOOL in self.tools

    def arguments_named(self) -> Iterator[tuple[str, str]]:
        """Yields the fields that name arguments, and the arguments."""
        if self.sum is not None:
            yield "sum", self.sum
        for index, name in enumerate(self.per):
            if name not in KEYS:
                yield f"per.{index}", name.removesuffix(OWNER)
        yield from ((f"unit.{name}", name) for name in self.unit)
        if self.read is not None:
            yield "read.key", self.read.key
