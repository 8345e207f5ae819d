"""How an event changes a run, as far as a client can see it."""

from __future__ import annotations

from typing import Any

from flightloop import events as ev
from flightloop.runs import Run, RunStatus, RunUsage


def apply(run: Run, event: ev.RunEvent) -> Run:
    """The run after the event."""
    update: dict[str, Any] = {"last_seq": event.seq, **_status(event)}
    if isinstance(event, ev.RunStarted):
        update["started_at"] = run.started_at or event.at
    elif isinstance(event, ev.RunEnded):
        update |= {"ended_at": event.at, "stop_reason": event.stop_reason, "output": event.output, "error": event.error}
    elif isinstance(event, ev.RunResumed):
        update |= {"ended_at": None, "stop_reason": None, "budget": event.budget or run.budget}
        update["session_budget"] = event.session_budget or run.session_budget
    elif isinstance(event, ev.Planned | ev.CallsDecided | ev.Replied):
        update |= _decided(run, event)
    elif isinstance(event, ev.ToolResult):
        update["usage"] = run.usage.model_copy(update={"tool_calls": run.usage.tool_calls + 1})
    elif isinstance(event, ev.AgentReturned):
        sums = {name: getattr(run.delegated, name) + getattr(event.usage, name) for name in RunUsage.model_fields}
        update["delegated"] = RunUsage(**sums)
    elif isinstance(event, ev.FeedbackGiven):
        update["feedback"] = event.feedback
    return run.model_copy(update=update)


def _status(event: ev.RunEvent) -> dict[str, Any]:
    match event:
        case ev.RunStarted():
            return {"status": RunStatus.RUNNING}
        case ev.RunReleased() | ev.RunEnded():
            return {"status": event.status}
        case ev.ApprovalRequested():
            return {"status": RunStatus.WAITING_APPROVAL}
        case ev.RunResumed() | ev.ApprovalDecided():
            return {"status": RunStatus.QUEUED}
        case _:
            return {}


def _decided(run: Run, event: ev.Planned | ev.CallsDecided | ev.Replied) -> dict[str, Any]:
    used, call = run.usage, event.model
    usage = RunUsage(
        steps=used.steps + 1,
        model_calls=used.model_calls + 1,
        tool_calls=used.tool_calls,
        prompt_tokens=used.prompt_tokens + call.usage.prompt_tokens,
        completion_tokens=used.completion_tokens + call.usage.completion_tokens,
        seconds=used.seconds + call.seconds,
        cost=used.cost + call.cost,
    )
    update: dict[str, Any] = {"usage": usage}
    if call.confidence is not None:
        mean = run.confidence or 0.0
        update["confidence"] = mean + (call.confidence - mean) / usage.steps
    if isinstance(event, ev.Planned):
        update["plan"] = event.tools
    return update
