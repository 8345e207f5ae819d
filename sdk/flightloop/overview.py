"""Figures of the three tiers; the response of ``GET /v1/overview``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from flightloop.content import Wire
from flightloop.runs import Interrupt


class Figure(Wire):
    """One value of a metric, under its name in the catalogue (``flightloop_model_ttft_seconds``).

    ``value`` is a counter's total, a gauge's value or a histogram's mean; None: no value yet. The unit is part of the
    name: ``_ratio`` (0..1), ``_seconds``, ``_bytes``, ``_eur``, ``_total``.
    """

    name: str
    value: float | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    help: str = ""
    count: int | None = None
    """Number of observations of a histogram."""
    p50: float | None = None
    p95: float | None = None


def _as_figures(value: Any) -> Any:
    """Also accepts a mapping of names to values."""
    if not isinstance(value, dict):
        return value
    return [{"name": name, **(item if isinstance(item, dict) else {"value": item})} for name, item in value.items()]


Figures = Annotated[list[Figure], BeforeValidator(_as_figures)]


class Overview(Wire):
    at: datetime
    runs: dict[str, int] = Field(default_factory=dict)
    """Number of runs by status, over the tenant's whole history."""
    pending_approvals: int = 0
    interrupts: list[Interrupt] = Field(default_factory=list)
    """Active interrupts."""
    system: Figures = Field(default_factory=list)
    model: Figures = Field(default_factory=list)
    business: Figures = Field(default_factory=list)
    guardrail: Figures = Field(default_factory=list)
    """Run, tool and guardrail metrics."""

    def figures(self, name: str) -> list[Figure]:
        """All figures of a metric, one per combination of labels."""
        return [
            item
            for tier in (self.system, self.model, self.business, self.guardrail)
            for item in tier
            if item.name == name
        ]
