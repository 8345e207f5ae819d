"""Runs: one execution of an agent on one input."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, ValidationInfo, field_validator

from flightloop.acts import Actor
from flightloop.approvals import Approval as Approval
from flightloop.approvals import ApprovalDecision as ApprovalDecision
from flightloop.content import Body, Content, Wire, text_of
from flightloop.limits import METADATA, at_most, check_metadata
from flightloop.subject import ID_CHARS, GivenSubject, Subject

REASON_CHARS = 2000
"""Characters of the reason of a stop, and of its lifting."""
WRITTEN_BY, MODEL = "written_by", "model"
"""Entry of a run's metadata that says that a model wrote its input, such as an MCP client's, and no user."""
Metadata = Annotated[dict[str, str], AfterValidator(check_metadata)]


class RunStatus(StrEnum):
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    WAITING_APPROVAL = "waiting_approval"  # a person must decide about a call
    WAITING_AGENT = "waiting_agent"  # a sub-agent works on a call
    SUCCEEDED = "succeeded"  # ended with an answer
    FAILED = "failed"  # ended by an error or an exhausted budget
    BLOCKED = "blocked"  # ended by a guardrail
    INTERRUPTED = "interrupted"  # ended by the emergency stop
    CANCELLED = "cancelled"  # ended at a step, at its owner's request

    @property
    def terminal(self) -> bool:
        return self not in (RunStatus.QUEUED, RunStatus.RUNNING, *WAITING)


WAITING = (RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT)
"""Waiting statuses, in which no worker holds the run."""


class StopReason(StrEnum):
    ANSWERED = "answered"
    CONFIRMATION = "confirmation"  # asks the user to say yes to a call; a yes in the session makes it
    ESCALATED = "escalated"  # handed over to a person, with an answer
    BUDGET_STEPS = "budget_steps"
    BUDGET_TOKENS = "budget_tokens"
    BUDGET_SECONDS = "budget_seconds"
    BUDGET_COST = "budget_cost"
    BUDGET_SESSION = "budget_session"  # a limit shared by the session's runs
    BUDGET_SUBJECT = "budget_subject"  # a limit shared by the runs and completions of one subject
    BUDGET_TENANT = "budget_tenant"  # a limit shared by the tenant's runs and completions
    CONTEXT = "context"  # the history no longer fits the model
    GUARDRAIL = "guardrail"
    INTERRUPT = "interrupt"
    CANCEL = "cancel"
    ERROR = "error"


class Budget(Wire):
    """Limits of a run, a session or a tenant. None: the agent's own limit applies; clients can only lower it."""

    steps: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens together."""
    seconds: FiniteFloat | None = Field(default=None, gt=0)
    """Wall time while a worker holds the run."""
    cost: FiniteFloat | None = Field(default=None, ge=0)
    """Euros."""


class StrictBudget(Budget):
    """Budget from user input, in which unknown names are errors. Also accepts a plain ``Budget``."""

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
    """Rating by the user, stored with the run."""

    model_config = ConfigDict(revalidate_instances="subclass-instances")  # converts a `Feedback` body to a `Rating`

    score: int = Field(ge=1, le=5)
    resolved: bool
    comment: str | None = Field(default=None, max_length=2000)


class Feedback(Rating, Body):
    """Body of ``POST /v1/runs/{id}/feedback``."""

    resolved: bool = Field(strict=True)


class RunCreate(Body):
    """Body of ``POST /v1/runs``."""

    agent: str = Field(min_length=1, max_length=64)
    input: Content = Field(min_length=1)
    session_id: str | None = Field(default=None, min_length=1, max_length=128, pattern=r"^[^\x00]*$")
    subject: GivenSubject | None = None
    """End user on whose behalf the run acts; None: the key's own subject, or else an anonymous run."""
    budget: StrictBudget = Field(default_factory=StrictBudget)
    session_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Limits shared by all runs of the session, including this one."""
    metadata: Metadata = Field(default_factory=dict, max_length=METADATA)


class RunResume(Body):
    """Body of ``POST /v1/runs/{id}/resume``: new limits of the run."""

    budget: StrictBudget | None = None
    session_budget: StrictBudget | None = None
    """New limits of the session, for this run."""


class Outcome(Body):
    """Body of ``POST /v1/runs/{id}/outcome``: whether the run had the intended effect."""

    solved: bool
    by: str = Field(default="", max_length=128)


class RunInterrupt(Body):
    """Body of ``POST /v1/runs/{id}/interrupt``."""

    reason: str = Field(default="", max_length=REASON_CHARS)


class Origin(Wire):
    """The run from which another one was forked, and the last decision that both share."""

    run_id: str
    step: int


class RunFork(Body):
    """Body of ``POST /v1/runs/{id}/fork``. Omitted fields are taken from the forked run."""

    step: int = Field(ge=0)
    """Number of decisions to keep, with the results of their calls; 0 starts from the beginning."""
    input: Content | None = Field(default=None, min_length=1)
    policy: str | None = Field(default=None, min_length=1, max_length=64)
    model: str | None = Field(default=None, min_length=1, max_length=256)
    budget: StrictBudget | None = None
    metadata: Metadata = Field(default_factory=dict, max_length=METADATA)


class Caller(Wire):
    """A run that called a sub-agent. ``policy``: the run's policy if it differs from its agent's."""

    run_id: str
    agent: str
    policy: str | None = None


class Parent(Wire):
    """The call that a sub-agent's run performs."""

    call_id: str
    callers: list[Caller] = Field(min_length=1)
    """Chain of calling runs, from the root run to the direct caller."""
    user_text: str = ""
    """The user's text in the root run. The sub-run's own input was written by a model."""
    tainted: bool = False
    """Whether the calling run had read text that looks like an instruction."""
    plan: list[str] | None = None
    """Tools in the callers' plans if a caller's policy sets ``lock_to_plan``; otherwise None."""

    @property
    def run_id(self) -> str:
        return self.callers[-1].run_id


class Run(Wire):
    id: str
    agent: str
    session_id: str
    tenant_id: str = "default"
    subject: Subject | None = None
    """End user on whose behalf the run acts; None: anonymous."""
    status: RunStatus
    stop_reason: StopReason | None = None
    input: Content
    output: Content | None = None
    error: RunError | None = None
    plan: list[str] = Field(default_factory=list)
    """Tools that the current plan intends to call, in order."""
    budget: Budget
    session_budget: Budget = Field(default_factory=Budget)
    """Limits that this run applies to all runs of its session."""
    usage: RunUsage = Field(default_factory=RunUsage)
    delegated: RunUsage = Field(default_factory=RunUsage)
    """Usage of sub-runs; counts towards the budget."""
    metadata: dict[str, str] = Field(default_factory=dict)
    confidence: float | None = None
    """Mean confidence of the run's decisions; None if the model does not report it."""
    feedback: Rating | None = None
    policy_sha256: str = ""
    started_by: Actor | None = None
    """Who started the run, its root run if it is a sub-run; None: an older version, or no person."""
    origin: Origin | None = None
    """Run and step that this run was forked from."""
    parent: Parent | None = None
    """Call that this run performs, if it is a sub-run."""
    tainted: bool = False
    """Whether the run has read text that looks like an instruction, itself or through the runs it works for."""
    policy: str | None = None
    """Policy of this run if it differs from its agent's."""
    model: str | None = None
    epoch: int | None = None
    """Interrupt epoch when the run was created or last resumed by a person; interrupts raised later stop it."""
    traceparent: str | None = None
    """W3C trace context of the request that created the run; the run's spans belong to that trace."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    erased_at: datetime | None = None
    """Time at which the run's texts, arguments, results and images were erased; None: they are there."""
    last_seq: int = 0

    @property
    def output_text(self) -> str:
        """The answer as text; empty if there is none."""
        return text_of(self.output or [])


InterruptScope = Literal["all", "tenant", "agent", "session", "subject"]
TARGET_CHARS = 128
"""Characters of the name of an agent, session or tenant; ids of subjects may be longer."""


class InterruptCreate(Body):
    """Body of ``POST /v1/interrupts``. ``target``: name of an agent (of the project, or as tagged in completions), id
    of a session or of a subject; a tenant or ``*`` for scope ``tenant``; None for scope ``all``."""

    scope: InterruptScope = "all"
    target: str | None = Field(default=None, max_length=ID_CHARS, pattern=r"^[^\x00]*$")
    reason: str = Field(default="", max_length=REASON_CHARS)

    @field_validator("target")
    @classmethod
    def _could_be_one(cls, target: str | None, info: ValidationInfo) -> str | None:
        if target is not None and info.data.get("scope") != "subject":
            at_most(TARGET_CHARS, len(target), "characters of the name of an agent, session or tenant")
        return target


class Interrupt(Wire):
    id: str
    tenant_id: str = "default"
    """``*``: raised by the deployment, for all tenants or for the one in ``target``."""
    scope: Literal["all", "tenant", "agent", "session", "subject", "run"]
    target: str | None = None
    reason: str = ""
    epoch: int
    created_at: datetime
    created_by: str = ""
    """Name of the key, or the signal or file on a machine."""
    cleared_at: datetime | None = None
    cleared_by: str = ""
    clear_reason: str = ""


class AgentInfo(Wire):
    name: str
    description: str = ""
    model: str
    tools: list[str]
    agents: list[str] = Field(default_factory=list)
    """Agents that this one can delegate to."""
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
    """State of the loaded project."""

    loaded_at: datetime
    problem: str | None = None
    """Current problem with the project's files: file, line, mistake. The version of ``loaded_at`` stays in use."""
    broken_since: datetime | None = None


class PolicyInfo(Wire):
    name: str
    version: str
    sha256: str
    document: dict[str, Any]
    loaded_at: datetime


class PolicyText(Wire):
    """A policy as it was when it decided something."""

    sha256: str
    """SHA-256 of the document as canonical JSON: keys sorted, no spaces, UTF-8."""
    name: str
    version: str
    document: dict[str, Any]

    @classmethod
    def of(cls, sha256: str, document: dict[str, Any]) -> PolicyText:
        return cls(sha256=sha256, name=document["name"], version=document["version"], document=document)


T = TypeVar("T")


class Page(Wire, Generic[T]):
    """A cursor page: pass ``next_after`` as ``after`` to get the next page. Iterating gives the page's entries."""

    data: list[T]
    has_more: bool = False
    next_after: str | None = None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # pydantic's would give pairs of field and value
        return iter(self.data)
