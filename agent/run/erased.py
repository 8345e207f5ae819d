"""Erased forms of runs, events, approvals and verdicts.

Ids, times, statuses, agents, models, usage, costs, ratings and kinds of verdicts stay, so that figures, limits and the
audit log stay right. Texts, arguments, results, images, metadata and the subject go. All functions are idempotent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from flightloop.approvals import Approval, PersonDecision
from flightloop.chat import FunctionCall, ToolCall
from flightloop.erasure import ERASED, erased_content, erased_verdict
from flightloop.events import (
    AgentReturned,
    ApprovalDecided,
    ApprovalGiven,
    ApprovalRequested,
    CallsDecided,
    CancelRequested,
    ContextCompacted,
    FeedbackGiven,
    Judged,
    OutcomeVerified,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunEvent,
    ToolIntent,
    ToolResult,
)
from flightloop.runs import Parent, Rating, Run, RunError

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What a tool's name looks like. A model may write anything in its place."""


def erased_run(run: Run) -> dict[str, Any]:
    """The fields of a run that change."""
    return {
        "subject": None,
        "started_by": None,
        "input": erased_content(),
        "output": run.output and erased_content(),
        "error": _error(run.error),
        "plan": _tools(run.plan),
        "metadata": {},
        "feedback": _rating(run.feedback),
        "parent": _parent(run.parent),
    }


def erased_event(event: RunEvent) -> RunEvent:
    """The event without its content."""
    change = _CHANGES.get(type(event))
    return event.model_copy(update={**(change(event) if change else {}), "erased": True})


def erased_approval(approval: Approval) -> Approval:
    decided = {"decisions": _decisions(approval.decisions), "decision_reason": approval.decision_reason and ERASED}
    return approval.model_copy(update={**_ASKED, **decided, "started_by": None, "subject": None})


def erased_write(written: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ``Written`` that change. The hash of its arguments stays: the call must not be repeated."""
    return {**written, "arguments": {}}


_ASKED: dict[str, Any] = {
    "arguments": {}, "reason": ERASED, "asked": [], "words": "", "dry_run": None, "sources": [], "figures": [],
}  # fmt: skip


def _created(event: RunCreated) -> dict[str, Any]:
    return {
        "subject": None,
        "started_by": None,
        "input": erased_content(),
        "readings": [],
        "metadata": {},
        "parent": _parent(event.parent),
    }


def _ended(event: RunEnded) -> dict[str, Any]:
    return {"output": event.output and erased_content(), "error": _error(event.error)}


def _planned(event: Planned) -> dict[str, Any]:
    return {"goal": ERASED, "tools": _tools(event.tools)}


def _decided(event: CallsDecided) -> dict[str, Any]:
    return {
        "calls": list(map(_call, event.calls)),
        "text": event.text and ERASED,
        "problem": event.problem and ERASED,
    }


def _replied(event: Replied) -> dict[str, Any]:
    return {"text": event.text and ERASED}


def _judged(event: Judged) -> dict[str, Any]:
    return {"verdict": erased_verdict(event.verdict)}


def _intended(event: ToolIntent) -> dict[str, Any]:
    return {"arguments": {}}


def _resulted(event: ToolResult) -> dict[str, Any]:
    return {
        "tool": event.tool if event.known and _NAME.fullmatch(event.tool) else ERASED,
        "content": None if event.content is None else ERASED,
        "error": event.error and ERASED,
        "note": event.note and ERASED,
        "traceback": event.traceback and ERASED,
        "wrote": [],
        "to_confirm": None,
    }


def _returned(event: AgentReturned) -> dict[str, Any]:
    return {"output": event.output and erased_content(), "error": _error(event.error)}


def _asked(event: ApprovalRequested) -> dict[str, Any]:
    return _ASKED


def _given(event: ApprovalGiven) -> dict[str, Any]:
    return {"reason": event.reason and ERASED}


def _answered(event: ApprovalDecided) -> dict[str, Any]:
    return {"reason": event.reason and ERASED, "decisions": _decisions(event.decisions)}


def _decisions(decisions: list[PersonDecision]) -> list[PersonDecision]:
    return [one.model_copy(update={"reason": one.reason and ERASED}) for one in decisions]


def _unnamed(event: CancelRequested | OutcomeVerified) -> dict[str, Any]:
    """Without a name that may be the end user's own key, or was given with the request."""
    return {"by": event.by and ERASED}


def _compacted(event: ContextCompacted) -> dict[str, Any]:
    return {"digest": []}


def _rated(event: FeedbackGiven) -> dict[str, Any]:
    return {"feedback": _rating(event.feedback)}


def _rating(rating: Rating | None) -> Rating | None:
    return rating and rating.model_copy(update={"comment": rating.comment and ERASED})


def _error(error: RunError | None) -> RunError | None:
    return error and error.model_copy(update={"message": ERASED})


def _parent(parent: Parent | None) -> Parent | None:
    return parent and parent.model_copy(update={"user_text": parent.user_text and ERASED})


def _call(call: ToolCall) -> ToolCall:
    return call.model_copy(update={"function": FunctionCall(name=_tool(call.function.name), arguments="{}")})


def _tools(names: list[str]) -> list[str]:
    return list(map(_tool, names))


def _tool(name: str) -> str:
    return name if _NAME.fullmatch(name) else ERASED


_CHANGES: dict[type[Any], Callable[[Any], dict[str, Any]]] = {
    RunCreated: _created,
    RunEnded: _ended,
    Planned: _planned,
    CallsDecided: _decided,
    Replied: _replied,
    Judged: _judged,
    ToolIntent: _intended,
    ToolResult: _resulted,
    AgentReturned: _returned,
    ApprovalRequested: _asked,
    ApprovalDecided: _answered,
    ApprovalGiven: _given,
    CancelRequested: _unnamed,
    OutcomeVerified: _unnamed,
    ContextCompacted: _compacted,
    FeedbackGiven: _rated,
}
"""Events with content. All others have none."""
