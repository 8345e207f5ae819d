"""Journal events: the durable history of a run, as stored and streamed.

Each has a ``seq``, numbered from 1 within its run without gaps and sent as ``id:`` in the SSE stream. Only
``DeltaEvent`` is not durable: it has no ``seq``, and later events may retract it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter

from flightloop.acts import Actor
from flightloop.approvals import DryRun, PersonDecision
from flightloop.chat import ToolCall, Usage
from flightloop.content import Content, Wire
from flightloop.provenance import Source
from flightloop.readings import ImageReading
from flightloop.runs import Budget, Origin, Parent, Rating, RunError, RunStatus, RunUsage, StopReason
from flightloop.subject import Subject
from flightloop.verdicts import Passed, Verdict


class ModelCall(Wire):
    """Figures of the model call behind a decision. Times in seconds, probabilities in 0..1."""

    model: str
    """Empty if the agent's procedure decided without asking the model."""
    usage: Usage = Field(default_factory=Usage)
    seconds: float = 0.0
    ttft_seconds: float | None = None
    queue_seconds: float | None = None
    confidence: float | None = None
    withheld: float | None = None
    """Confidence of calls that were too uncertain to be made; the text replaces them."""
    mean_entropy: float | None = None
    max_entropy: float | None = None
    finish_reason: str | None = None
    cost: float = 0.0
    chars_per_token: float | None = None
    """Characters per prompt token, measured for this call; used to estimate the next prompt's tokens."""


class Event(Wire):
    seq: int = 0
    run_id: str = ""
    at: datetime | None = None
    step: int = 0
    """Number of decisions before this event; events of a call have the step of its decision."""
    copied: bool = False
    """Whether the event was copied from the run that this one was forked from."""
    erased: bool = False
    """Whether its texts, arguments, results and images were erased."""


class RunCreated(Event):
    type: Literal["run.created"] = "run.created"
    agent: str
    session_id: str
    tenant_id: str = "default"
    subject: Subject | None = None
    """End user on whose behalf the run acts, as vouched for by the caller's key; None: anonymous."""
    input: Content
    """With the data of its images, which the run itself has as digests only."""
    readings: list[ImageReading] = Field(default_factory=list)
    """What was read in the images of the input, in order; empty if they were not read."""
    budget: Budget
    session_budget: Budget = Field(default_factory=Budget)
    metadata: dict[str, str] = Field(default_factory=dict)
    policy_sha256: str = ""
    origin: Origin | None = None
    parent: Parent | None = None
    policy: str | None = None
    model: str | None = None
    epoch: int | None = None
    """Interrupt epoch at creation; interrupts raised later stop the run."""
    traceparent: str | None = None
    """W3C trace context of the request that created the run."""
    started_by: Actor | None = None
    """Who sent the request that created the run, or its root run."""


class RunStarted(Event):
    """A worker claimed the run: for the first time, after a wait, or from a worker that died.

    ``overtaken``: the previous worker, or a call that it started, may still be running.
    """

    type: Literal["run.started"] = "run.started"
    worker: str
    fence: int
    overtaken: bool = False


class RunReleased(Event):
    """The worker released the run without ending it, because the run waits or the worker stops."""

    type: Literal["run.released"] = "run.released"
    status: Literal[RunStatus.QUEUED, RunStatus.WAITING_APPROVAL, RunStatus.WAITING_AGENT]


class RunResumed(Event):
    """An ended or waiting run is queued again."""

    type: Literal["run.resumed"] = "run.resumed"
    by: str = ""
    budget: Budget | None = None
    session_budget: Budget | None = None
    epoch: int | None = None
    """Interrupt epoch if a person resumed the run; None: it continues after a wait."""


class RunEnded(Event):
    type: Literal["run.ended"] = "run.ended"
    status: RunStatus
    stop_reason: StopReason
    output: Content | None = None
    error: RunError | None = None
    tainted: bool = False
    """Whether the run or one before it in the session has read text that looks like an instruction."""


class Planned(Event):
    type: Literal["decision.plan"] = "decision.plan"
    goal: str
    tools: list[str]
    """Tools that the model intends to call, in order."""
    model: ModelCall


class CallsDecided(Event):
    type: Literal["decision.calls"] = "decision.calls"
    calls: list[ToolCall]
    text: str = ""
    problem: str | None = None
    """Why the model's output was unusable; then there are no calls."""
    model: ModelCall


class Replied(Event):
    type: Literal["decision.reply"] = "decision.reply"
    text: str
    model: ModelCall


class ChecksPassed(Event):
    """Checks that passed without remarks since the last event of this type."""

    type: Literal["checks.passed"] = "checks.passed"
    passed: Passed


class Judged(Event):
    """A rail's verdict that changed something or has a remark; ``call_id`` is set in the two tool stages."""

    type: Literal["verdict"] = "verdict"
    verdict: Verdict
    call_id: str | None = None


class ToolIntent(Event):
    """Intent of a call, journaled before the call is executed."""

    type: Literal["tool.intent"] = "tool.intent"
    call_id: str
    tool: str
    arguments: dict[str, Any]
    key: str
    """Idempotency key, ``run_id:step:call_index``."""
    effect: str
    args_sha256: str
    policy_sha256: str
    fence: int
    unsure: bool = False
    """Whether equivalent arguments may have a different ``args_sha256``."""
    performed_by: str | None = None
    """Id of the sub-agent's run that performs the call, created together with this event."""


class ToolResult(Event):
    """Result of a call as the model sees it. ``ok`` is False for an error, a refusal or a timeout."""

    type: Literal["tool.result"] = "tool.result"
    call_id: str
    tool: str
    ok: bool
    content: Any = None
    """JSON value. Anything else that a tool returns is converted to a string, and ``note`` says so."""
    error: str | None = None
    note: str | None = None
    seconds: float = 0.0
    tainted: bool = False
    """Whether a rail found text in the result that looks like an instruction."""
    traceback: str | None = None
    """Traceback of the tool, for operators; never shown to the model. Untrusted text that passed the guardrails."""
    tries: int = 1
    """Number of attempts, as allowed by the tool's ``retries``."""
    uncertain: bool = False
    """Whether the call may have had its effect although ``ok`` is False: the tool raised something other than
    `ToolRefused`, its result was withheld, lost or not awaited, or a sub-agent made calls before its run failed."""
    only_read: bool = False
    """Whether a tool that only reads was called. Limits over time count it whatever it answers: a miss tells, too."""
    known: bool = True
    """Whether a tool has this name. False: the model made it up."""
    to_confirm: str | None = None
    """The call as the user is asked about it, which waits for the user's yes; None: it doesn't."""
    then: str | None = None
    """Tool that the platform has the model call next, since it held this call back; None: the model is free."""
    wrote: list[str] = Field(default_factory=list)
    """Calls by which a sub-agent, and those that worked for it, may have changed something. What they stored is no
    record for the caller, which has not seen where it came from."""


class AgentReturned(Event):
    """The sub-run that performed a call has ended; the call's result follows."""

    type: Literal["agent.returned"] = "agent.returned"
    call_id: str
    performed_by: str
    status: RunStatus
    output: Content | None = None
    error: RunError | None = None
    usage: RunUsage
    """Usage of the sub-run, including its own sub-runs."""


class ApprovalRequested(Event):
    type: Literal["approval.requested"] = "approval.requested"
    approval_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    asked: list[str] = Field(default_factory=list)
    """The policy's reasons to require approval, each with its rail; the approval covers only these."""
    figures: list[str] = Field(default_factory=list)
    """What is used of limits over time that the call exceeds; the approval covers only these figures. They may be about
    other people, so events in streams don't have them."""
    doubted: bool = False
    """Whether the user's words seem to mean another call."""
    args_sha256: str
    policy_sha256: str
    sources: list[Source] = Field(default_factory=list)
    """Where the values of the arguments come from."""
    words: str = ""
    """The user's latest message, perhaps shortened."""
    dry_run: DryRun | None = None
    """What the call would change. For those who decide: events in streams don't have it."""
    needed: int = 1
    """Number of different persons who must approve."""
    not_starter: bool = False
    """Whether the person who started the run can't approve."""
    expires_at: datetime


class ApprovalGiven(Event):
    """A person approved a call for which further persons are needed."""

    type: Literal["approval.given"] = "approval.given"
    approval_id: str
    call_id: str
    by: str = ""
    reason: str | None = None
    note: str = ""
    """Why the approval counts although a rule of the policy speaks against it."""
    given: int
    """Number of persons who have approved, with this one."""
    needed: int


class ApprovalDecided(Event):
    type: Literal["approval.decided"] = "approval.decided"
    approval_id: str
    call_id: str
    decision: Literal["approve", "deny", "expire"]
    by: str = ""
    """Who decided last."""
    reason: str | None = None
    decisions: list[PersonDecision] = Field(default_factory=list)
    """What each person decided, oldest first; empty if nobody did, and for events of older versions."""


class CancelRequested(Event):
    type: Literal["run.cancel_requested"] = "run.cancel_requested"
    by: str = ""


class ContextCompacted(Event):
    """From here on the model sees a digest instead of the oldest part of the conversation. The journal keeps that
    part."""

    type: Literal["context.compacted"] = "context.compacted"
    through_step: int
    """Decisions of the run that the digest replaces, with their calls and results."""
    runs: list[str] = Field(default_factory=list)
    """Earlier runs of the session that the digest replaces."""
    digest: list[str] = Field(default_factory=list)
    """Lines about messages, plans and calls, oldest first. Contains text of tool results."""
    left_out: int = 0
    """Older lines left out for lack of room."""
    tainted: bool = False
    """Whether one of the replaced results was tainted; its text is not in the digest."""
    tokens_before: int
    """Estimated length of the prompt."""
    tokens_after: int
    limit: int
    """Token limit for prompt and answer together."""
    chars_per_token: float
    """Ratio used for the estimates."""


class FeedbackGiven(Event):
    type: Literal["feedback"] = "feedback"
    feedback: Rating


class OutcomeVerified(Event):
    """The run's effect was checked, by a task's ``expect`` or by an operator."""

    type: Literal["outcome"] = "outcome"
    solved: bool
    by: str = ""


class RunErased(Event):
    """The run's content was erased. Ids, times, usage, costs, outcomes and kinds of verdicts stay."""

    type: Literal["run.erased"] = "run.erased"
    reason: Literal["request", "age"]
    by: str = ""


class DeltaEvent(Event):
    """Text streamed while it is decoded. Not durable."""

    type: Literal["delta"] = "delta"
    text: str
    after: int = 0
    """``seq`` of the run's last durable event at that time."""


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
    | ApprovalGiven
    | ApprovalDecided
    | CancelRequested
    | ContextCompacted
    | FeedbackGiven
    | OutcomeVerified
    | RunErased
    | DeltaEvent,
    Discriminator("type"),
]

run_event: TypeAdapter[RunEvent] = TypeAdapter(RunEvent)
"""Validates and dumps any event."""
