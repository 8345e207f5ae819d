"""A call's share of a limit over time, and the names of the sums that shares are added to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal, localcontext
from hashlib import sha256

from guardrails.limit_rules import DAY, SESSION

MILLIONTH = Decimal("0.000001")
"""Amounts are counted in millionths."""


@dataclass(frozen=True)
class LimitShare:
    """The share of one call in one limit."""

    place: int
    """Position of the limit in its policy."""
    tool: str
    """Name under which the call counts: its tool, or ``*``."""
    tools: tuple[str, ...]
    """Names whose sums the limit adds up, including ``tool``."""
    measure: str
    """The measure that is added up: ``calls``, or an argument with its unit."""
    per: tuple[tuple[str, str | None], ...]
    """Keys and their values. None: unknown, or the anonymous subject."""
    seconds: float | None
    """Length of the window; None: unlimited."""
    maximum: Decimal
    amount: Decimal
    """Amount of the call. If it is ``unclear``, the maximum, so that nothing is left."""
    unclear: str = ""
    """Why the amount or a key is unknown; empty if it is known."""
    used: Decimal = Decimal(0)
    """Sum of the other calls when the call was checked."""

    @property
    def exceeds(self) -> bool:
        return bool(self.unclear) or self.used + self.amount > self.maximum

    @property
    def left(self) -> Decimal:
        return max(self.maximum - self.used, Decimal(0))

    @property
    def bound(self) -> Decimal:
        """Largest sum with this call that the check allows: the maximum, or more if a person has approved that sum."""
        return max(self.maximum, self.used + self.amount)

    @property
    def figures(self) -> str:
        """Use of the limit, for a person who decides on a call that it leaves no room for. May be about other
        people, so neither the model nor an end user may read it."""
        per = "".join(f" per {key}" for key, _ in self.per)
        window = "" if self.seconds is None else f" within {self.seconds:g} s"
        what = f"{self.measure} of {' and '.join(self.tools)}{per}{window}"
        return f"limit {self.place}, {what}: {plain(self.used)} used of {plain(self.maximum)}"

    def names(self, session_id: str, day: str) -> list[str]:
        """Names of the sums that the limit adds up.

        They depend on no other field of the policy: a changed maximum or window doesn't start anew.

        Args:
            session_id: session of the call or, for a fork, of its original run.
            day: date in UTC, such as ``2026-01-31``.
        """
        return [self._name(tool, session_id, day) for tool in self.tools]

    def name(self, session_id: str, day: str) -> str:
        """Name of the sum to which the call adds; one of ``names``."""
        return self._name(self.tool, session_id, day)

    def _name(self, tool: str, session_id: str, day: str) -> str:
        now = {SESSION: session_id, DAY: day}
        text = json.dumps([self.measure, tool, sorted((key, now.get(key, value) or "") for key, value in self.per)])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def with_used(self, used: Decimal) -> LimitShare:
        return replace(self, used=used)


ReadUsed = Callable[[str, Sequence[LimitShare]], Awaitable[Sequence[Decimal]]]
"""Returns, for each share of the call with this id, the sum of the other calls. Raises NotCounted."""


class NotCounted(Exception):
    """Calls are not counted here."""


async def not_counted(call_id: str, shares: Sequence[LimitShare]) -> Sequence[Decimal]:
    """Sums where no calls are counted. Raises NotCounted."""
    raise NotCounted("calls that the policy limits over time can only be made in runs")


def millionths(amount: Decimal) -> int:
    """An amount as a whole number of millionths, rounded up: it never counts less than was asked for."""
    with localcontext(prec=60):
        return int((amount / MILLIONTH).to_integral_value(rounding=ROUND_CEILING))


def from_millionths(number: int) -> Decimal:
    with localcontext(prec=60):
        return (Decimal(number) * MILLIONTH).normalize()


def plain(amount: Decimal) -> str:
    """An amount in digits, without an exponent: ``99.5``, ``100``."""
    with localcontext(prec=60):
        return f"{amount.normalize():f}"
