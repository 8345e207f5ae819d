"""What the projection remembers of one run, and what follows from it for the business figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flightloop.runs import RunStatus, StopReason
from observability.catalog import BUSINESS_RATINGS, BUSINESS_RESOLUTIONS, BUSINESS_RESOLVED, BUSINESS_RUNS, RUN_OPEN
from observability.series import Series


@dataclass
class RunFacts:
    """Times are in seconds since the epoch; ``steps`` and ``tokens`` since the last (re)start."""

    tenant: str
    agent: str
    began: float
    steps: int = 0
    tokens: int = 0
    confidence_sum: float = 0.0
    confidence_count: int = 0
    status: str | None = None
    stop_reason: str | None = None
    solved: bool | None = None
    score: int | None = None
    resolved: bool | None = None
    asked: int = 0
    """Approvals that wait for a person."""
    trace_id: str | None = None
    """Of a caller's trace that it belongs to."""

    @property
    def confidence(self) -> float | None:
        """Mean over the run's decisions that had one."""
        return self.confidence_sum / self.confidence_count if self.confidence_count else None

    @property
    def outcome(self) -> str | None:
        """How an ended run stands now. Only what somebody checked is ``verified``; an answer is ``assumed``."""
        if self.status is None:
            return None
        if self.stop_reason == StopReason.ESCALATED:
            return "escalated"
        if self.status == RunStatus.SUCCEEDED:
            return {True: "verified", False: "failed", None: "assumed"}[self.solved]
        if self.status in (RunStatus.CANCELLED, RunStatus.INTERRUPTED):
            return "stopped"
        return "blocked" if self.status == RunStatus.BLOCKED else "failed"

    @property
    def accepted(self) -> bool:
        """A resolution: verified, or answered and resolved by the user's word."""
        return self.outcome == "verified" or (self.outcome == "assumed" and self.resolved is True)

    def tally(self, series: Series, sign: int) -> None:
        """Adds what this run contributes to the gauges (or takes it out again, before it changes)."""
        agent = {"agent": self.agent}
        if self.outcome is None:
            series.inc(RUN_OPEN, sign, agent)
        else:
            series.inc(BUSINESS_RUNS, sign, {**agent, "outcome": self.outcome})
        series.inc(BUSINESS_RESOLUTIONS, sign * self.accepted, agent)
        if self.score is not None:
            series.inc(BUSINESS_RATINGS, sign, {**agent, "score": str(self.score)})
            series.inc(BUSINESS_RESOLVED, sign, {**agent, "resolved": "yes" if self.resolved else "no"})

    def state(self) -> list[Any]:
        """The fields in their order, as JSON: ``RunFacts(*state)`` is the same again."""
        return list(vars(self).values())
