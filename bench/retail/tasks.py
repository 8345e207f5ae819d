"""A task in tau2-bench's format: instructions for the user, and what the agent should do and say."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    """Base of a task's parts. Ignores fields that only the official setting uses."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Instructions(_Part):
    """What the user knows and wants, in the second person."""

    reason_for_call: str = Field(min_length=1)
    known_info: str | None = None
    unknown_info: str | None = None
    task_instructions: str | None = None


class Scenario(_Part):
    instructions: Instructions


class Action(_Part):
    """A tool call."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict)


class Criteria(_Part):
    """``actions`` lead to the expected end state; ``communicate_info`` must be said in some answer."""

    actions: list[Action] | None = None
    communicate_info: list[str] | None = None


class Task(_Part):
    """A task. ``initial_state``: changes before the task begins; the retail tasks have none."""

    id: str = Field(min_length=1)
    user_scenario: Scenario
    evaluation_criteria: Criteria
    initial_state: None = None

    @property
    def instructions(self) -> Instructions:
        return self.user_scenario.instructions

    @property
    def actions(self) -> list[Action]:
        return self.evaluation_criteria.actions or []

    @property
    def told(self) -> list[str]:
        """What the user must be told."""
        return self.evaluation_criteria.communicate_info or []
