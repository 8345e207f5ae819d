"""The user's local time when a run began, by which the model and the guard read "tomorrow"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from agent.project.agent_spec import AgentSpec
from agent.project.time_zone import zone_of
from flightloop.runs import Run

CLAIM = "zoneinfo"
"""Claim with the subject's time zone (OpenID Connect Core 1.0, section 5.1)."""
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class LocalTime:
    """When a run was created.

    Attributes:
        at: in the user's time zone.
        zoned: whether that time zone is known; otherwise it is UTC.
    """

    at: datetime
    zoned: bool

    @classmethod
    def of(cls, run: Run, agent: AgentSpec) -> LocalTime:
        """By the subject's claim, or else by the agent's ``today``. It is the same whenever the run goes on."""
        claimed = run.subject.claims.get(CLAIM) if run.subject is not None else None
        names = (name for name in (claimed, agent.today) if isinstance(name, str))
        zone = next((found for name in names if (found := zone_of(name)) is not None), None)
        return cls(run.created_at.astimezone(zone or UTC), zone is not None)

    @property
    def line(self) -> str:
        """The day in words, without the time: prompts of a day begin alike, so that caches hold."""
        return f"Today is {_DAYS[self.at.weekday()]}, {self.at:%Y-%m-%d}."
