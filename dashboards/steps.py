"""Groups a run's events for display: steps with verdicts and calls, and bars over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flightloop import events as ev
from flightloop.verdicts import Verdict

Decision = ev.Planned | ev.CallsDecided | ev.Replied


@dataclass
class CallView:
    """A tool call and its progress."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    verdicts: list[Verdict] = field(default_factory=list)
    intent_at: datetime | None = None
    """Time of the call's intent event, recorded just before it is performed."""
    performed_by: str | None = None
    """Id of the sub-run of another agent that performs the call."""
    result: ev.ToolResult | None = None
    asked: ev.ApprovalRequested | None = None  # the question for approval
    given: list[ev.ApprovalGiven] = field(default_factory=list)  # approvals while further persons are needed
    decided: ev.ApprovalDecided | None = None  # the decision on it

    @property
    def state(self) -> str:
        """ok, failed, denied, waiting, running or proposed."""
        if self.result:
            return "ok" if self.result.ok else "failed"
        if self.decided and self.decided.decision != "approve":
            return "denied"
        if self.asked and not self.decided:
            return "waiting"
        return "running" if self.intent_at else "proposed"


@dataclass
class StepView:
    """A step of a run. Step 0 is the input; each later step begins with a decision of the model."""

    number: int
    decision: Decision | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    calls: dict[str, CallView] = field(default_factory=dict)  # by call id
    compacted: ev.ContextCompacted | None = None
    """Compaction after this step: a summary replaced the oldest part of the model's context."""

    @property
    def title(self) -> str:
        match self.decision:
            case ev.Planned():
                return "Plan"
            case ev.CallsDecided(calls=calls):
                return " + ".join(call.function.name for call in calls)
            case ev.Replied():
                return "Reply"
            case _:
                return "Input"


@dataclass(frozen=True)
class Bar:
    """A time span of a run, in seconds since its first event. ``kind``: queue, model, tool, agent or person."""

    label: str
    kind: str
    start: float
    end: float
    detail: str


def steps_of(events: Iterable[ev.RunEvent]) -> list[StepView]:
    steps: dict[int, StepView] = {}
    for event in events:
        step = steps.setdefault(event.step, StepView(event.step))
        if isinstance(event, ev.Planned | ev.CallsDecided | ev.Replied):
            step.decision = event
            if isinstance(event, ev.CallsDecided):
                step.calls |= {call.id: CallView(call.id, call.function.name, _arguments(call)) for call in event.calls}
        elif isinstance(event, ev.Judged):
            call = step.calls.get(event.call_id or "")
            (call.verdicts if call else step.verdicts).append(event.verdict)
        elif isinstance(event, ev.ChecksPassed):
            step.verdicts += event.passed.verdicts
        elif isinstance(event, ev.ContextCompacted):
            step.compacted = event
        else:
            _add_to_call(step, event)
    shown = [step for step in steps.values() if step.decision or step.verdicts or step.calls]
    return sorted(shown, key=lambda step: step.number)


def _arguments(call: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = call.function.parsed()
    except ValueError:
        return {"": call.function.arguments}
    return found


_OF_CALLS = ev.ToolIntent | ev.ToolResult | ev.ApprovalRequested | ev.ApprovalGiven | ev.ApprovalDecided


def _add_to_call(step: StepView, event: ev.RunEvent) -> None:
    if not isinstance(event, _OF_CALLS):
        return
    tool = "" if isinstance(event, ev.ApprovalGiven | ev.ApprovalDecided) else event.tool
    call = step.calls.setdefault(event.call_id, CallView(event.call_id, tool, {}))
    match event:
        case ev.ToolIntent():
            call.intent_at, call.arguments, call.performed_by = event.at, event.arguments, event.performed_by
        case ev.ToolResult():
            call.result = event
        case ev.ApprovalRequested():
            call.asked, call.arguments, call.given = event, event.arguments, []
        case ev.ApprovalGiven():
            call.given.append(event)
        case ev.ApprovalDecided():
            call.decided = event


def bars_of(events: Sequence[ev.RunEvent], until: datetime) -> list[Bar]:
    """Bars for what took time in a run. Spans that have not ended extend to ``until``."""
    timed = [(event.at, event) for event in events if event.at]
    if not timed:
        return []
    spans = _Spans(timed[0][0])
    for at, event in timed:
        if isinstance(event, ev.Planned | ev.CallsDecided | ev.Replied):
            spans.bars.append(_decision_bar(event, at, spans.zero))
        elif isinstance(event, ev.RunEnded):
            spans.end_all(at, "ended with the run")
        elif start := _starts(event):
            spans.begin(at, *start)
        elif end := _ends(event):
            spans.end(at, *end)
    spans.end_all(until, "still running")
    return sorted(spans.bars, key=lambda bar: (bar.start, bar.end))


class _Spans:
    """Open spans by key, and the bars of ended ones."""

    def __init__(self, zero: datetime) -> None:
        self.zero = zero
        self.bars: list[Bar] = []
        self._open: dict[str, tuple[datetime, str, str]] = {}

    def begin(self, at: datetime, key: str, label: str, kind: str) -> None:
        self._open[key] = (at, label, kind)

    def end(self, at: datetime, key: str, detail: str) -> None:
        if key in self._open:
            start, label, kind = self._open.pop(key)
            since, to = (start - self.zero).total_seconds(), (at - self.zero).total_seconds()
            self.bars.append(Bar(label, kind, since, to, detail))

    def end_all(self, at: datetime, detail: str) -> None:
        for key in list(self._open):
            self.end(at, key, detail)


def _starts(event: ev.RunEvent) -> tuple[str, str, str] | None:
    """Key, label and kind of the span that the event begins."""
    match event:
        case ev.RunCreated() | ev.RunResumed():
            return "queue", "queued", "queue"
        case ev.ToolIntent():
            return event.call_id, f"{event.step} · {event.tool}", "agent" if event.performed_by else "tool"
        case ev.ApprovalRequested():
            return event.approval_id, f"{event.step} · approval", "person"
        case _:
            return None


def _ends(event: ev.RunEvent) -> tuple[str, str] | None:
    """Key of the span that the event ends, and how it ended."""
    match event:
        case ev.RunStarted():
            return "queue", "until a worker took the run"
        case ev.ToolResult():
            return event.call_id, "ok" if event.ok else event.error or "failed"
        case ev.ApprovalDecided():
            return event.approval_id, f"{event.decision} by {event.by}"
        case _:
            return None


def _decision_bar(event: Decision, at: datetime, zero: datetime) -> Bar:
    name = {"decision.plan": "plan", "decision.calls": "decide", "decision.reply": "reply"}[event.type]
    start = max(at - timedelta(seconds=event.model.seconds), zero)
    tokens = event.model.usage
    detail = f"{tokens.prompt_tokens} prompt + {tokens.completion_tokens} completion tokens"
    return Bar(f"{event.step} · {name}", "model", (start - zero).total_seconds(), (at - zero).total_seconds(), detail)
