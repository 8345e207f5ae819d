"""Journal events: the durable history of a run, as stored and as streamed.

Each has ``seq``, gap-free from 1 within its run: the ``id:`` of the SSE stream. ``Delta`` alone is
not durable, has no ``seq`` and may be retracted by what follows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter

from flightloop.chat import ToolCall, Usage
from flightloop.content import Content, Wire
from flightloop.runs import Budget, Origin, Parent, Rating, RunError, RunStatus, RunUsage, StopReason
from flightloop.verdicts import Passed, Verdict


class ModelCall(Wire):
    """Figures of the model call behind a decision. Seconds; probabilities in 0..1."""

    model: str
    usage: Usage = Field(default_factory=Usage)
    seconds: float = 0.0
    ttft_seconds: float | None = None
    queue_seconds: float | None = None
    confidence: float | None = None
    withheld: float | None = None
    """Confidence of calls that were too unsure to be made; what was said stands in their place."""
    mean_entropy: float | None = None
    max_entropy: float | None = None
    finish_reason: str | None = None
    cost: float = 0.0
    chars_per_token: float | None = None
    """Of the prompt, by the model's own count: what the next one is measured with."""


class Event(Wire):
    seq: int = 0
    run_id: str = ""
    at: datetime | None = None
    step: int = 0
    """Decisions made before this event: a call's events carry its decision's step."""
    copied: bool = False
    """It happened in the run that this one was forked from."""


class RunCreated(Event):
    type: Literal["run.created"] = "run.created"
    agent: str
    session_id: str
    tenant_id: str = "default"
    input: Content
    budget: Budget
    session_budget: Budget = Field(default_factory=Budget)
    metadata: dict[str, str] = Field(default_factory=dict)
    policy_sha256: str = ""
    origin: Origin | None = None
    parent: Parent | None = None
    policy: str | None = None
    model: str | None = None
    epoch: int | None = None
    """Of interrupts, when it was created: those raised later stop it."""
    traceparent: str | None = None
    """W3C trace context of the request that created it."""


class RunStarted(Event):
    """A worker took the run: the first time, after a wait, or from a worker that died.

    ``overtaken``: of the worker before it is not known that it has ended, and what it had begun may still go on.
    """

    type: Literal["run.started"] = "run.started"
    worker: str
    fence: int
    overtaken: bool = False


class RunReleased(Event):
    """The worker gave the run back without ending it (a wait, or its own shutdown)."""

    type: Literal["run.released"] = "run.released"
    status: Literal[RunStatus.QUEUED, RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT]


class RunResumed(Event):
    """An ended or waiting run is queued again."""

    type: Literal["run.resumed"] = "run.resumed"
    by: str = ""
    budget: Budget | None = None
    session_budget: Budget | None = None
    epoch: int | None = None
    """Of interrupts, when somebody resumed it; None: it only goes on after a wait."""


class RunEnded(Event):
    type: Literal["run.ended"] = "run.ended"
    status: RunStatus
    stop_reason: StopReason
    output: Content | None = None
    error: RunError | None = None


class Planned(Event):
    type: Literal["decision.plan"] = "decision.plan"
    goal: str
    tools: list[str]
    """The tools it means to call, in order."""
    model: ModelCall


class CallsDecided(Event):
    type: Literal["decision.calls"] = "decision.calls"
    calls: list[ToolCall]
    text: str = ""
    problem: str | None = None
    """Why the model's output could not be used; there are no calls then."""
    model: ModelCall


class Replied(Event):
    type: Literal["decision.reply"] = "decision.reply"
    text: str
    model: ModelCall


class ChecksPassed(Event):
    """What the rails let pass as it was since the last event of this kind."""

    type: Literal["checks.passed"] = "checks.passed"
    passed: Passed


class Judged(Event):
    """A rail's verdict that changed something or has more to say; ``call_id`` for the two tool stages."""

    type: Literal["verdict"] = "verdict"
    verdict: Verdict
    call_id: str | None = None


class ToolIntent(Event):
    """Written before the effect. ``key`` is ``run_id:step:call_index``: the idempotency key.

    ``unsure``: other spellings of the call may have other hashes.
    """

    type: Literal["tool.intent"] = "tool.intent"
    call_id: str
    tool: str
    arguments: dict[str, Any]
    key: str
    effect: str
    args_sha256: str
    policy_sha256: str
    fence: int
    unsure: bool = False
    performed_by: str | None = None
    """The run of another agent that works on it: it was created together with this event."""


class ToolResult(Event):
    """What the model will see of a call. ``ok`` is False for an error, a refusal or a timeout."""

    type: Literal["tool.result"] = "tool.result"
    call_id: str
    tool: str
    ok: bool
    content: Any = None
    """JSON; a string where the tool gave none, with ``note`` saying so."""
    error: str | None = None
    note: str | None = None
    seconds: float = 0.0
    tainted: bool = False
    """A rail found something in the result that looks like an instruction."""
    traceback: str | None = None
    """Where the tool raised. For people: the model never sees it. Untrusted text, as guardrails left it."""
    tries: int = 1
    """How often the tool was called, with what its ``retries`` allow."""
    uncertain: bool = False
    """Its effect may have happened although it is not ``ok``: the tool raised something else than `ToolRefused`, or its
    result was withheld, lost or not waited for."""


class AgentReturned(Event):
    """The run that worked on a call has ended; the call's result follows from it."""

    type: Literal["agent.returned"] = "agent.returned"
    call_id: str
    performed_by: str
    status: RunStatus
    output: Content | None = None
    error: RunError | None = None
    usage: RunUsage
    """With that of the runs which worked for it."""


class ApprovalRequested(Event):
    type: Literal["approval.requested"] = "approval.requested"
    approval_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    asked: list[str] = Field(default_factory=list)
    """Each thing that the policy asks about, with its rail before it: an approval covers these and nothing else."""
    args_sha256: str
    policy_sha256: str
    expires_at: datetime


class ApprovalDecided(Event):
    type: Literal["approval.decided"] = "approval.decided"
    approval_id: str
    call_id: str
    decision: Literal["approve", "deny", "expire"]
    by: str = ""
    reason: str | None = None


class CancelRequested(Event):
    type: Literal["run.cancel_requested"] = "run.cancel_requested"
    by: str = ""


class ContextCompacted(Event):
    """From here on the model sees a digest in the place of the conversation's oldest part, which the journal keeps."""

    type: Literal["context.compacted"] = "context.compacted"
    through_step: int
    """Decisions of the run that the digest stands for, with their calls and results."""
    runs: list[str] = Field(default_factory=list)
    """Earlier runs of the session that it stands for."""
    digest: list[str] = Field(default_factory=list)
    """Oldest first, a line for what was said, meant or done. It holds text of tool results."""
    left_out: int = 0
    """Older lines that had no room."""
    tainted: bool = False
    """A rail had found something in one of the results; its text is not in the digest."""
    tokens_before: int
    """Of the prompt, estimated."""
    tokens_after: int
    limit: int
    """Tokens that prompt and answer may have together."""
    chars_per_token: float
    """What the estimates were made with."""


class FeedbackGiven(Event):
    type: Literal["feedback"] = "feedback"
    feedback: Rating


class OutcomeVerified(Event):
    """Someone checked the world's state after the run (a task's ``expect``, or an operator)."""

    type: Literal["outcome"] = "outcome"
    solved: bool
    by: str = ""


class DeltaEvent(Event):
    """Text that was released while it is decoded. Not durable."""

    type: Literal["delta"] = "delta"
    text: str
    after: int = 0
    """The run's last durable event when it was released."""


RunEvent = Annotated[
    RunCreated
    | RunStarted
    | RunReleased
    | RunResumed
    | RunEnded
    | Planned
    | CallsDecided
    | Replied
    | ChecksPassed
    | Judged
    | ToolIntent
    | ToolResult
    | AgentReturned
    | ApprovalRequested
    | ApprovalDecided
    | CancelRequested
    | ContextCompacted
    | FeedbackGiven
    | OutcomeVerified
    | DeltaEvent,
    Discriminator("type"),
]

run_event: TypeAdapter[RunEvent] = TypeAdapter(RunEvent)
"""Validates and dumps any event."""
