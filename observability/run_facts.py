"""Facts about a run that the projection remembers, and the run's contribution to the business figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flightloop.runs import RunStatus, StopReason
from observability.catalog import BUSINESS_RATINGS, BUSINESS_RESOLUTIONS, BUSINESS_RESOLVED, BUSINESS_RUNS, RUN_OPEN
from observability.series import Series


@dataclass
class RunFacts:
    """Facts about a run. Times are in seconds since the epoch; ``steps`` and ``tokens`` count since the last
    (re)start."""

    tenant: str
    agent: str
    began: float  # creation or resumption
    steps: int = 0
    tokens: int = 0
    confidence_sum: float = 0.0  # over decisions that have a confidence
    confidence_count: int = 0
    status: str | None = None  # None: it hasn't ended
    stop_reason: str | None = None
    solved: bool | None = None  # whether a check found its end state right; None: not checked
    score: int | None = None  # rating, 1 to 5
    resolved: bool | None = None  # whether the user calls it resolved
    asked: int = 0
    """Approvals that are pending."""
    trace_id: str | None = None
    """Id of the caller's trace, if the run belongs to one."""

    @property
    def confidence(self) -> float | None:
        """Mean over the run's decisions that have a confidence."""
        return self.confidence_sum / self.confidence_count if self.confidence_count else None

    @property
    def outcome(self) -> str | None:
        """Current outcome of an ended run. ``verified`` requires a check; an unchecked answer is ``assumed``."""
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
        """Whether the run counts as a resolution: verified, or answered and called resolved by the user."""
        return self.outcome == "verified" or (self.outcome == "assumed" and self.resolved is True)

    def tally(self, series: Series, sign: int) -> None:
        """Adds (``sign`` 1) this run's contribution to the gauges, or removes it (-1) before the facts change."""
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
        """The fields in order, as JSON; ``RunFacts(*state)`` restores them."""
        return list(vars(self).values())
