"""What an agent is: a YAML document of its project."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from flightloop.runs import Budget, StrictBudget


class Limits(BaseModel):
    """An agent's bounds, complete: a run always has a finite budget of steps, tokens and seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=12, ge=1, le=1000)
    tokens: int = Field(default=50_000, ge=1)
    seconds: float = Field(default=300.0, gt=0)
    cost: float | None = Field(default=None, ge=0)

    def budget(self) -> Budget:
        return Budget(steps=self.steps, tokens=self.tokens, seconds=self.seconds, cost=self.cost)


class ExampleCall(BaseModel):
    """A call of an example and what the tool answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: Any = None


class Example(BaseModel):
    """A conversation to imitate: it stands in each prompt, after the instructions. A small model needs some."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(min_length=1)
    goal: str = ""
    calls: tuple[ExampleCall, ...] = ()
    answer: str = Field(min_length=1)


class AgentSpec(BaseModel):
    """``tools`` are names in the registry, ``policy`` the name of a policy of the project.

    ``escalation``: tools whose success means that a person takes over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    description: str = ""
    instructions: str = Field(min_length=1)
    examples: tuple[Example, ...] = Field(default=(), max_length=32)
    tools: tuple[str, ...] = Field(default=(), max_length=64)
    agents: tuple[str, ...] = Field(default=(), max_length=16)
    """Other agents of the project that it can give tasks to (``agent.project.subagent``)."""
    policy: str = "default"
    planning: bool = True
    replans: int = Field(default=1, ge=0, le=10)
    """How often a failed or blocked call may lead to a new plan."""
    parallel_calls: int = Field(default=4, ge=1, le=64)
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=1)
    """Longest single answer of the model."""
    approval_seconds: float = Field(default=86_400.0, gt=0)
    """How long a person has to decide."""
    escalation: tuple[str, ...] = ()
    budget: Limits = Field(default_factory=Limits)
    session_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Of all runs of a session together."""
