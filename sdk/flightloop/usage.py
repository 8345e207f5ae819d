"""What runs have used together, of the bounds that they share: the answer of ``GET /v1/usage``."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from flightloop.content import Wire
from flightloop.runs import Budget, RunUsage


class Amounts(Wire):
    """What a budget bounds, as quantities."""

    steps: int = 0
    """Model calls."""
    tokens: int = 0
    """Prompt and completion tokens together."""
    seconds: float = 0.0
    """Wall time while workers held runs."""
    cost: float = 0.0
    """Euros."""

    @classmethod
    def of(cls, usage: RunUsage) -> Amounts:
        return cls(steps=usage.steps, tokens=usage.tokens, seconds=usage.seconds, cost=usage.cost)

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            steps=self.steps + other.steps,
            tokens=self.tokens + other.tokens,
            seconds=self.seconds + other.seconds,
            cost=self.cost + other.cost,
        )


class Spending(Wire):
    """Of a tenant in its current window, or of a session."""

    used: Amounts = Field(default_factory=Amounts)
    reserved: Amounts = Field(default_factory=Amounts)
    """By model calls that are bounded and go on now, at their worst."""
    budget: Budget = Field(default_factory=Budget)
    since: datetime | None = None
    """Beginning and end of a tenant's window; None for a session."""
    until: datetime | None = None


class UsageReport(Wire):
    tenant: Spending
    session: Spending | None = None
    """The one that was asked for; its budget is that of its newest run."""
