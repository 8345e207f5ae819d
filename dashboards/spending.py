"""Use of a tenant's budget, limit by limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboards import figures
from flightloop.usage import Spending

NEARLY = 0.8
"""Share of a limit from which on the console warns."""

SHOWN: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "steps": ("Steps", figures.count),
    "tokens": ("Tokens", figures.count),
    "seconds": ("Working time", figures.seconds),
    "cost": ("Cost", figures.euros),
}
"""Limits of a budget: label and format of the amounts."""


@dataclass(frozen=True)
class Bound:
    """Use of one limit of a budget. ``limit`` is None if it is unlimited."""

    name: str  # key in ``SHOWN``
    used: float
    reserved: float  # by running calls
    limit: float | None

    @property
    def label(self) -> str:
        return SHOWN[self.name][0]

    def text(self, amount: float) -> str:
        return SHOWN[self.name][1](amount)

    @property
    def share(self) -> float:
        """Share of the limit that is used; 0 without a limit."""
        return self.part(self.used)

    def part(self, amount: float) -> float:
        if self.limit is None:
            return 0.0
        return amount / self.limit if self.limit else float(amount > 0)

    @property
    def left(self) -> float | None:
        """Amount that is neither used nor reserved; None without a limit."""
        return None if self.limit is None else max(self.limit - self.used - self.reserved, 0)

    @property
    def exhausted(self) -> bool:
        return self.share >= 1

    @property
    def taken(self) -> bool:
        """Whether running calls have reserved all of the limit that is not used."""
        return not self.exhausted and self.part(self.used + self.reserved) >= 1

    @property
    def nearly(self) -> bool:
        return NEARLY <= self.share < 1


def bounds(tenant: Spending) -> list[Bound]:
    """The four limits of a budget, including unlimited ones."""
    of = [(getattr(tenant.used, name), getattr(tenant.reserved, name), getattr(tenant.budget, name)) for name in SHOWN]
    return [Bound(name, *amounts) for name, amounts in zip(SHOWN, of, strict=True)]
