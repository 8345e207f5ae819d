"""A call between the guard's ruling and its effect."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.run.history import CallState
from agent.run.limits import CallShares
from flightloop.events import RunCreated, RunEvent, ToolResult
from flightloop.tool import Effect
from guardrails.types import CheckedCall


@dataclass(frozen=True)
class BegunCall:
    """A checked call before its effect."""

    state: CallState
    events: list[RunEvent]
    """Events to journal before the effect."""
    children: list[RunCreated] = field(default_factory=list)
    """Sub-runs to create with ``events``."""
    shares: CallShares = ()
    """What the call adds to limits over time, with the call's id."""
    checked_call: CheckedCall | None = None
    """The call to make, if any."""
    refused: str | None = None
    """Reason why the call is not made after all, if any."""

    @property
    def harmless(self) -> bool:
        """Whether the call may begin before it is journaled: no effect could be lost or repeated."""
        if self.checked_call is None:
            return all(isinstance(event, ToolResult) for event in self.events)
        spec = self.checked_call.spec  # a call that leaves the sandbox or is limited over time is journaled first
        return spec.effect is Effect.PURE and spec.agent is None and not spec.permissions and not self.shares
