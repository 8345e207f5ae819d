"""Usage of shared budgets; the response of ``GET /v1/usage``."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from flightloop.content import Wire
from flightloop.runs import Budget, RunUsage


class Amounts(Wire):
    """Quantities that a budget limits."""

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
    """Spending of a tenant or subject in the current window, or of a session."""

    used: Amounts = Field(default_factory=Amounts)
    reserved: Amounts = Field(default_factory=Amounts)
    """Upper bound of what model calls in progress may still use."""
    budget: Budget = Field(default_factory=Budget)
    since: datetime | None = None
    """Start of a tenant's window, and ``until`` its end; None for a session."""
    until: datetime | None = None


class UsageReport(Wire):
    tenant: Spending
    session: Spending | None = None
    """Spending of the requested session; its budget is that of its latest run."""
    subject: Spending | None = None
    """Spending of the requested subject in the tenant's window."""
