"""What an agent can look up, as evidence for its guard."""

from __future__ import annotations

from dataclasses import dataclass

from agent.spec import AgentSpec
from guardrails.types import Facts, no_facts


@dataclass(frozen=True)
class Lookup:
    """Facts, and the names of the tools that look them up: their results tell nothing beyond."""

    facts: Facts = no_facts
    tools: frozenset[str] = frozenset()

    def of(self, agent: AgentSpec) -> Lookup:
        """For an agent without any of these tools nothing is known: the facts may be another one's."""
        return self if self.tools & set(agent.tools) else NO_LOOKUP


NO_LOOKUP = Lookup()
