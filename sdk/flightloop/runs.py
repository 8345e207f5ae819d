"""Runs: one agent at work on one input."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat

from flightloop.content import Body, Content, Wire, text_of
from flightloop.limits import METADATA, check_metadata

Metadata = Annotated[dict[str, str], AfterValidator(check_metadata)]


class RunStatus(StrEnum):
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    WAITING_APPROVAL = "waiting_approval"  # a person has to decide about a call
    WAITING_AGENT = "waiting_agent"  # another agent works on a call
    SUCCEEDED = "succeeded"  # ended with an answer
    FAILED = "failed"  # ended by an error or an exhausted budget
    BLOCKED = "blocked"  # ended by a guardrail
    INTERRUPTED = "interrupted"  # ended by the emergency stop
    CANCELLED = "cancelled"  # ended at a step, as its owner asked

    @property
    def terminal(self) -> bool:
        return self not in (RunStatus.QUEUED, RunStatus.RUNNING, *WAITING)


WAITING = (RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT)
"""No worker holds a run that waits."""


class StopReason(StrEnum):
    ANSWERED = "answered"
    ESCALATED = "escalated"  # handed over to a person, with an answer
    BUDGET_STEPS = "budget_steps"
    BUDGET_TOKENS = "budget_tokens"
    BUDGET_SECONDS = "budget_seconds"
    BUDGET_COST = "budget_cost"
    BUDGET_SESSION = "budget_session"  # a bound that the session's runs share
    BUDGET_TENANT = "budget_tenant"  # a bound that the tenant's runs and completions share
    CONTEXT = "context"  # the history no longer fits the model
    GUARDRAIL = "guardrail"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    ERROR = "error"


class Budget(Wire):
    """Upper bounds of a run, or of all of a session's or a tenant's. None: the agent's own bound holds; a client can
    only lower it."""

    steps: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens together."""
    seconds: FiniteFloat | None = Field(default=None, gt=0)
    """Wall time while a worker holds the run."""
    cost: FiniteFloat | None = Field(default=None, ge=0)
    """Euros."""


class StrictBudget(Budget):
    """Bounds that somebody writes, where a name that is none is a mistake. A plain ``Budget`` may be given for one."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class RunUsage(Wire):
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class RunError(Wire):
    code: str
    message: str


class Rating(Wire):
    """The user's, as it is kept with a run."""

    model_config = ConfigDict(revalidate_instances="subclass-instances")  # a body becomes one

    score: int = Field(ge=1, le=5)
    resolved: bool
    comment: str | None = Field(default=None, max_length=2000)


class Feedback(Rating, Body):
    """Body of ``POST /v1/runs/{id}/feedback``."""


class RunCreate(Body):
    """Body of ``POST /v1/runs``."""

    agent: str = Field(min_length=1, max_length=64)
    input: Content = Field(min_length=1)
    session_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[^\x00]*$")
    budget: StrictBudget = Field(default_factory=StrictBudget)
    session_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Of all of the session's runs together, this one included."""
    metadata: Metadata = Field(default_factory=dict, max_length=METADATA)


class RunResume(Body):
    """Body of ``POST /v1/runs/{id}/resume``: a budget replaces the run's own bounds where it names some."""

    budget: StrictBudget | None = None
    session_budget: StrictBudget | None = None
    """Likewise the session's, for this run."""


class Outcome(Body):
    """Body of ``POST /v1/runs/{id}/outcome``: whether the world's state is the one that was wanted."""

    solved: bool
    by: str = Field(default="", max_length=128)


class RunInterrupt(Body):
    """Body of ``POST /v1/runs/{id}/interrupt``."""

    reason: str = Field(default="", max_length=2000)


class Origin(Wire):
    """The run that another one was forked from, and the last of its decisions that both have."""

    run_id: str
    step: int


class RunFork(Body):
    """Body of ``POST /v1/runs/{id}/fork``. What is not given is as in the run that is forked."""

    step: int = Field(ge=0)
    """Decisions that are kept, with their calls' results; 0: none, the run begins again."""
    input: Content | None = Field(default=None, min_length=1)
    policy: str | None = Field(default=None, min_length=1, max_length=64)
    model: str | None = Field(default=None, min_length=1, max_length=256)
    budget: StrictBudget | None = None
    metadata: Metadata = Field(default_factory=dict, max_length=METADATA)


class Caller(Wire):
    """A run that another one works for. ``policy``: of that run, if it isn't its agent's."""

    run_id: str
    agent: str
    policy: str | None = None


class Parent(Wire):
    """The call that a sub-agent's run works on."""

    call_id: str
    callers: list[Caller] = Field(min_length=1)
    """The run that made the call is the last one, before it stand those that it works for itself."""
    user_text: str = ""
    """What the user said to the first of them: a task is a model's words, not the user's."""
    tainted: bool = False
    """Whether that run had read something that looks like an instruction before."""
    plan: list[str] | None = None
    """Tools that the plans of the callers name, where a caller's policy locks to the plan; None: no policy does."""

    @property
    def run_id(self) -> str:
        return self.callers[-1].run_id


class Run(Wire):
    id: str
    agent: str
    session_id: str
    tenant_id: str = "default"
    status: RunStatus
    stop_reason: StopReason | None = None
    input: Content
    output: Content | None = None
    error: RunError | None = None
    plan: list[str] = Field(default_factory=list)
    """Names of the tools that the current plan means to call, in order."""
    budget: Budget
    session_budget: Budget = Field(default_factory=Budget)
    """What this run holds all of its session's runs to."""
    usage: RunUsage = Field(default_factory=RunUsage)
    delegated: RunUsage = Field(default_factory=RunUsage)
    """What runs of other agents used for its calls; it counts towards the budget."""
    metadata: dict[str, str] = Field(default_factory=dict)
    confidence: float | None = None
    """Mean confidence of the run's decisions; None where the model does not tell."""
    feedback: Rating | None = None
    policy_sha256: str = ""
    origin: Origin | None = None
    """Where it was forked from."""
    parent: Parent | None = None
    """What it works on, if an agent asked for it."""
    policy: str | None = None
    """Of this run, if it isn't its agent's."""
    model: str | None = None
    epoch: int | None = None
    """Of interrupts, when it was created or last resumed by somebody: those raised later stop it."""
    traceparent: str | None = None
    """W3C trace context of the request that created it: its spans belong to that trace."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_seq: int = 0

    @property
    def output_text(self) -> str:
        """The answer in words; empty while there is none."""
        return text_of(self.output or [])


class Approval(Wire):
    """A call that waits for a person, bound to the arguments and the policy it was asked under."""

    id: str
    run_id: str
    agent: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    args_sha256: str
    policy_sha256: str
    status: Literal["pending", "approved", "denied", "expired"] = "pending"
    decided_by: str | None = None
    decision_reason: str | None = None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None


class ApprovalDecision(Body):
    decision: Literal["approve", "deny"]
    reason: str | None = Field(default=None, max_length=2000)


class InterruptCreate(Body):
    """``target`` is the agent's name, of the project or as completions name it, or the session's id; none for scope
    ``all``."""

    scope: Literal["all", "agent", "session"] = "all"
    target: str | None = Field(default=None, max_length=128, pattern=r"^[^\x00]*$")
    reason: str = Field(default="", max_length=2000)


class Interrupt(Wire):
    id: str
    tenant_id: str = "default"
    scope: Literal["all", "agent", "session", "run"]
    target: str | None = None
    reason: str = ""
    epoch: int
    created_at: datetime
    created_by: str = ""
    cleared_at: datetime | None = None


class AgentInfo(Wire):
    name: str
    description: str = ""
    model: str
    tools: list[str]
    agents: list[str] = Field(default_factory=list)
    """Those that it can give tasks to."""
    policy: str
    policy_sha256: str
    budget: Budget
    session_budget: Budget = Field(default_factory=Budget)
    planning: bool


class ToolInfo(Wire):
    name: str
    description: str
    parameters: dict[str, Any]
    effect: str
    timeout_s: float
    permissions: list[str]
    retries: int = 0


class ProjectInfo(Wire):
    """The state of the project that agents, tools and policies are served from."""

    loaded_at: datetime
    problem: str | None = None
    """Why its files as they are now can't be used: file, line and mistake. The state of ``loaded_at`` serves on."""
    broken_since: datetime | None = None


class PolicyInfo(Wire):
    name: str
    version: str
    sha256: str
    document: dict[str, Any]
    loaded_at: datetime


T = TypeVar("T")


class Page(Wire, Generic[T]):
    """A cursor page: pass ``next_after`` as ``after`` to get the one that follows."""

    data: list[T]
    has_more: bool = False
    next_after: str | None = None
