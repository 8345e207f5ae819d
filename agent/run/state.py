"""Run state as a fold over journal events, and the transitions that the store enforces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent.run.erased import erased_run
from flightloop.chat import Tags
from flightloop.content import without_image_data
from flightloop.errors import Conflict
from flightloop.events import (
    AgentReturned,
    ApprovalDecided,
    ApprovalGiven,
    ApprovalRequested,
    CallsDecided,
    CancelRequested,
    ChecksPassed,
    ContextCompacted,
    DeltaEvent,
    FeedbackGiven,
    Judged,
    ModelCall,
    OutcomeVerified,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunErased,
    RunEvent,
    RunReleased,
    RunResumed,
    RunStarted,
    ToolIntent,
    ToolResult,
)
from flightloop.runs import WAITING, Run, RunStatus, RunUsage, StopReason

S = RunStatus
ENDINGS = frozenset(status for status in RunStatus if status.terminal)
OPEN = frozenset(RunStatus) - ENDINGS
UNHELD = OPEN - {S.RUNNING}
"""Statuses in which no worker holds the run."""

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    S.QUEUED: frozenset({S.RUNNING, S.CANCELLED, S.INTERRUPTED}),
    S.RUNNING: frozenset({S.RUNNING, S.QUEUED, *WAITING}) | ENDINGS,  # running again: its worker died
    S.WAITING_APPROVAL: frozenset({S.QUEUED, S.CANCELLED, S.INTERRUPTED}),
    S.WAITING_AGENT: frozenset({S.QUEUED, S.CANCELLED, S.INTERRUPTED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset({S.QUEUED}),
    S.BLOCKED: frozenset(),
    S.INTERRUPTED: frozenset({S.QUEUED}),
    S.CANCELLED: frozenset(),
}
"""For each status, the statuses that the next event may lead to."""

RESUMABLE = frozenset(
    {
        StopReason.INTERRUPT,
        StopReason.BUDGET_STEPS,
        StopReason.BUDGET_TOKENS,
        StopReason.BUDGET_SECONDS,
        StopReason.BUDGET_COST,
        StopReason.BUDGET_SESSION,
        StopReason.BUDGET_SUBJECT,
        StopReason.BUDGET_TENANT,
        StopReason.ERROR,
    }
)
"""Stop reasons after which a run can be resumed."""

DECISIONS = (Planned, CallsDecided, Replied)
"""Events that count as a step."""

_WORK = (*DECISIONS, Judged, ChecksPassed, ToolIntent, ToolResult, ApprovalRequested, ContextCompacted)
"""Events that only the lease holder writes, while the run is running."""


@dataclass(frozen=True)
class RunState:
    """The run as clients see it, and the values needed to continue the fold."""

    run: Run
    held_at: datetime | None = None
    """Time of the latest event under the current lease; None while no worker holds the run."""
    cancel_requested: bool = False
    confident_calls: int = 0
    """Number of decisions that the mean confidence averages."""


def fold(events: Iterable[RunEvent]) -> Run:
    """Folds a run's events, starting with the first, into the run.

    Raises:
        Conflict: an event does not fit the state before it.
    """
    return fold_state(events).run


def fold_state(events: Iterable[RunEvent]) -> RunState:
    state: RunState | None = None
    for event in events:
        state = apply(state, event)
    if state is None:
        raise ValueError("a run has at least one event")
    return state


def apply(state: RunState | None, event: RunEvent) -> RunState:
    """The state after one more event. The cost does not grow with the run's length.

    Raises:
        Conflict: a forbidden transition, or work on a run that is not running.
    """
    if state is None:
        if not isinstance(event, RunCreated):
            raise Conflict(f"a run begins with run.created, not with {event.type}")
        return _created(event)
    check(state, event)
    changes = _CHANGES[type(event)](state, event)
    usage = changes.pop("usage", state.run.usage)
    held_at = state.held_at
    if held_at is not None and event.at is not None and event.at != held_at and not isinstance(event, RunStarted):
        usage = usage.model_copy(update={"seconds": usage.seconds + max(0.0, (event.at - held_at).total_seconds())})
        held_at = event.at
    own = {key: changes.pop(key) for key in ("held_at", "cancel_requested", "confident_calls") if key in changes}
    run = state.run.model_copy(update={**changes, "usage": usage, "last_seq": event.seq or state.run.last_seq + 1})
    return replace(state, run=run, **{"held_at": held_at, **own})


def check(state: RunState, event: RunEvent) -> None:
    """Raises Conflict if ``event`` may not follow ``state``."""
    run = state.run
    check_kept(run, event)
    if isinstance(event, RunCreated | DeltaEvent):
        raise Conflict(f"run {run.id}: a {event.type} event cannot be appended")
    target = status_after(event)
    if target is not None and target not in TRANSITIONS[run.status]:
        raise Conflict(f"run {run.id} is {run.status}: it cannot become {target}")
    if isinstance(event, _WORK) and run.status is not S.RUNNING and not event.copied:
        raise Conflict(f"run {run.id} is {run.status}: {event.type} needs a running run")
    if isinstance(event, CancelRequested | ApprovalGiven | ApprovalDecided) and run.status.terminal:
        raise Conflict(f"run {run.id} has already ended: it is {run.status}")
    if isinstance(event, RunResumed):
        check_resume(run)


def check_kept(run: Run, event: RunEvent) -> None:
    """Raises Conflict if ``event`` is for a run whose content was erased, or erases that of a run that is open."""
    if run.erased_at is not None and not isinstance(event, AgentReturned):  # the end of a sub-run must be possible
        raise Conflict(f"run {run.id} was erased: {event.type} can't be added to it")
    if isinstance(event, RunErased) and not run.status.terminal:
        raise Conflict(f"run {run.id} is {run.status}: it can only be erased after it has ended")


def check_resume(run: Run) -> None:
    """Raises Conflict if a run can't be queued again: it is active, erased, or its stop reason is final."""
    if run.erased_at is not None:
        raise Conflict(f"run {run.id} was erased: it cannot be resumed")
    if run.status in (S.RUNNING, S.QUEUED):
        raise Conflict(f"run {run.id} is {run.status}: there is nothing to resume")
    if run.status.terminal and run.stop_reason not in RESUMABLE:
        raise Conflict(f"run {run.id} ended with {run.stop_reason}: it cannot be resumed")
    if run.status.terminal and run.parent is not None:
        raise Conflict(f"sub-run {run.id} works for run {run.parent.run_id}, which has its result: resume the latter")


def check_fork(run: Run) -> None:
    """Raises Conflict if a run was erased."""
    if run.erased_at is not None:
        raise Conflict(f"run {run.id} was erased: nothing of it is left to fork")


def status_after(event: RunEvent) -> RunStatus | None:
    """The status that an event leads to; None if the status does not change."""
    match event:
        case RunCreated() | RunResumed():
            return S.QUEUED
        case RunStarted():
            return S.RUNNING
        case RunReleased() | RunEnded():
            return event.status
        case _:
            return None


def tags_of(run: Run) -> Tags:
    """Owner of a run, as interrupts match it."""
    subject = run.subject.id if run.subject else None
    return Tags(tenant_id=run.tenant_id, agent=run.agent, session_id=run.session_id, run_id=run.id, subject=subject)


def _created(event: RunCreated) -> RunState:
    if event.at is None or not event.run_id:
        raise ValueError('"run.created" requires "run_id" and "at"')
    return RunState(
        Run(
            id=event.run_id,
            agent=event.agent,
            session_id=event.session_id,
            tenant_id=event.tenant_id,
            subject=event.subject,
            status=S.QUEUED,
            input=without_image_data(event.input),
            budget=event.budget,
            session_budget=event.session_budget,
            metadata=event.metadata,
            policy_sha256=event.policy_sha256,
            origin=event.origin,
            parent=event.parent,
            tainted=event.parent is not None and event.parent.tainted,
            policy=event.policy,
            model=event.model,
            epoch=event.epoch,
            traceparent=event.traceparent,
            started_by=event.started_by,
            created_at=event.at,
            last_seq=event.seq or 1,
        )
    )


def _started(state: RunState, event: RunStarted) -> dict[str, Any]:
    # The time between a dead worker's last event and this one is not charged: counting begins here.
    return {"status": S.RUNNING, "started_at": state.run.started_at or event.at, "held_at": event.at}


def _released(state: RunState, event: RunReleased) -> dict[str, Any]:
    return {"status": event.status, "held_at": None}


def _resumed(state: RunState, event: RunResumed) -> dict[str, Any]:
    return {
        "status": S.QUEUED,
        "budget": event.budget or state.run.budget,
        "session_budget": event.session_budget or state.run.session_budget,
        "epoch": state.run.epoch if event.epoch is None else event.epoch,
        "stop_reason": None,
        "output": None,
        "error": None,
        "ended_at": None,
        "cancel_requested": state.cancel_requested and not state.run.status.terminal,
    }


def _ended(state: RunState, event: RunEnded) -> dict[str, Any]:
    return {
        "status": event.status,
        "stop_reason": event.stop_reason,
        "output": event.output,
        "error": event.error,
        "tainted": state.run.tainted or event.tainted,
        "ended_at": event.at,
        "held_at": None,
    }


def _decided(state: RunState, event: Planned | CallsDecided | Replied) -> dict[str, Any]:
    call: ModelCall = event.model
    usage = state.run.usage
    changes: dict[str, Any] = {
        "usage": usage.model_copy(
            update={
                "steps": usage.steps + 1,
                "model_calls": usage.model_calls + bool(call.model),
                "prompt_tokens": usage.prompt_tokens + call.usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens + call.usage.completion_tokens,
                "cost": usage.cost + call.cost,
            }
        )
    }
    if isinstance(event, Planned):
        changes["plan"] = list(event.tools)
    if call.confidence is not None:
        count, mean = state.confident_calls + 1, state.run.confidence or 0.0
        changes |= {"confidence": mean + (call.confidence - mean) / count, "confident_calls": count}
    return changes


def _intended(state: RunState, event: ToolIntent) -> dict[str, Any]:
    usage = state.run.usage
    return {"usage": usage.model_copy(update={"tool_calls": usage.tool_calls + 1})}


def added(first: RunUsage, other: RunUsage) -> RunUsage:
    """The sum, field by field."""
    return RunUsage(**{name: getattr(first, name) + getattr(other, name) for name in RunUsage.model_fields})


def _returned(state: RunState, event: AgentReturned) -> dict[str, Any]:
    return {"delegated": added(state.run.delegated, event.usage)}


def _cancel_requested(state: RunState, event: CancelRequested) -> dict[str, Any]:
    return {"cancel_requested": True}


def _feedback(state: RunState, event: FeedbackGiven) -> dict[str, Any]:
    return {"feedback": event.feedback}


def _tainted(state: RunState, event: ToolResult | ContextCompacted) -> dict[str, Any]:
    return {"tainted": state.run.tainted or event.tainted}


def _erased(state: RunState, event: RunErased) -> dict[str, Any]:
    return {**erased_run(state.run), "erased_at": event.at}


def _nothing(state: RunState, event: RunEvent) -> dict[str, Any]:
    return {}


_CHANGES: dict[type[Any], Callable[[RunState, Any], dict[str, Any]]] = {
    RunStarted: _started,
    RunReleased: _released,
    RunResumed: _resumed,
    RunEnded: _ended,
    Planned: _decided,
    CallsDecided: _decided,
    Replied: _decided,
    Judged: _nothing,
    ChecksPassed: _nothing,
    ToolIntent: _intended,
    ToolResult: _tainted,
    AgentReturned: _returned,
    ApprovalRequested: _nothing,
    ApprovalGiven: _nothing,
    ApprovalDecided: _nothing,
    CancelRequested: _cancel_requested,
    FeedbackGiven: _feedback,
    OutcomeVerified: _nothing,
    RunErased: _erased,
    ContextCompacted: _tainted,
}
