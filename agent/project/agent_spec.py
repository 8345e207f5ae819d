"""Agent specification, read from a YAML file of the project."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.project.procedure_tools import PROCEDURE_TOOLS
from agent.project.time_zone import zone_of
from flightloop.runs import Budget, StrictBudget

CONFIRMATION: dict[Literal["en", "zh"], str] = {
    "en": "Is this right? Say yes, and I will do it:",
    "zh": "请确认以下操作，回复“是”我就办理：",
}


class Limits(BaseModel):
    """Budget of an agent's run; steps, tokens and seconds are always finite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=12, ge=1, le=1000)
    tokens: int = Field(default=50_000, ge=1)
    seconds: float = Field(default=300.0, gt=0)
    cost: float | None = Field(default=None, ge=0)

    def budget(self) -> Budget:
        return Budget(steps=self.steps, tokens=self.tokens, seconds=self.seconds, cost=self.cost)


class ExampleCall(BaseModel):
    """A call in an example, with the tool's result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: Any = None


class Example(BaseModel):
    """An example conversation, added to each prompt after the instructions. Small models need some."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(min_length=1)
    goal: str = ""
    calls: tuple[ExampleCall, ...] = ()
    answer: str = Field(min_length=1)


class AgentSpec(BaseModel):
    """An agent of a project."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    description: str = ""
    instructions: str = Field(min_length=1)
    signed_in: str = Field(default="", max_length=2000)
    """Added to the instructions of runs with a subject; ``{id}`` and ``{claims.NAME}`` are replaced by its values."""
    today: str | None = None
    """Time zone, such as ``UTC`` or ``Europe/Berlin``: the instructions tell the day of the run there. None: they tell
    none. A subject's claim ``zoneinfo`` takes its place (OpenID Connect Core 1.0, section 5.1)."""
    examples: tuple[Example, ...] = Field(default=(), max_length=32)
    tools: tuple[str, ...] = Field(default=(), max_length=64)
    """Names of tools in the project's registry."""
    agents: tuple[str, ...] = Field(default=(), max_length=16)
    """Other agents of the project to which this one can delegate (``agent.project.subagent``)."""
    policy: str = "default"
    """Name of a policy of the project."""
    planning: bool = True
    procedure: Literal["code"] | None = None
    """Program that decides the run's steps in place of the model (``agent.procedures``)."""
    replans: int = Field(default=1, ge=0, le=10)
    """Maximum number of new plans after failed or blocked calls."""
    parallel_calls: int = Field(default=4, ge=1, le=64)
    temperature: float = Field(default=0.0, ge=0, le=2)
    call_confidence: float | None = Field(default=None, ge=0, lt=1)
    """Lowest confidence at which the embedded model makes a call instead of answering. None: the model's own level."""
    max_tokens: int = Field(default=256, ge=1)
    """Maximum length of an answer in tokens, per model call."""
    approval_seconds: float = Field(default=86_400.0, gt=0)
    """Seconds after which an approval that nobody has decided expires."""
    escalation: tuple[str, ...] = ()
    """Tools that hand the conversation over to a person when they succeed."""
    escalation_notice: dict[Literal["en", "zh"], Annotated[str, Field(min_length=1, max_length=300)]] = {}
    """Replaces an answer that refuses although such a tool has just succeeded, by the answer's language."""
    refusal_offer: dict[Literal["en", "zh"], Annotated[str, Field(min_length=1, max_length=300)]] = {}
    """Added to an answer that only says that it can't help, by its language: what else there is, such as a person."""
    before_refusing: str | None = None
    """A tool that is called before an answer that refuses, in a run that has called nothing, and then answered from."""
    confirmation: dict[Literal["en", "zh"], Annotated[str, Field(min_length=1, max_length=300)]] = Field(
        default=CONFIRMATION, min_length=1
    )
    """How the user is asked to agree to calls, by the language of the latest message. The calls follow, one a line."""
    budget: Limits = Field(default_factory=Limits)
    session_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Budget shared by all runs of a session."""

    @field_validator("today")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        if value is not None and zone_of(value) is None:
            raise ValueError(f"{value!r} is not a time zone: use a name such as UTC, Europe/Berlin or Asia/Shanghai")
        return value

    @model_validator(mode="after")
    def _has_its_procedures_tools(self) -> Self:
        needed = PROCEDURE_TOOLS[self.procedure] if self.procedure else ()
        if missing := [name for name in needed if name not in self.tools]:
            raise ValueError(f"procedure {self.procedure} calls {', '.join(missing)}: add them to tools")
        return self
