"""History of a run, updated event by event. The cost of an update does not grow with the run's length."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flightloop.chat import ToolCall
from flightloop.events import (
    AgentReturned,
    ApprovalDecided,
    ApprovalRequested,
    CallsDecided,
    ChecksPassed,
    ContextCompacted,
    Judged,
    Planned,
    Replied,
    RunCreated,
    RunEnded,
    RunEvent,
    RunStarted,
    ToolIntent,
    ToolResult,
)
from flightloop.verdicts import Stage


@dataclass
class CallState:
    """State of one decided call: approval, intent, result."""

    call: ToolCall
    key: str
    """Idempotency key."""
    confidence: float | None = None
    """Probability that the model assigned to the decision's calls together, if it told it."""
    request: ApprovalRequested | None = None
    """Latest request for approval."""
    decided: ApprovalDecided | None = None
    """Decision on ``request``."""
    intent: ToolIntent | None = None
    returned: AgentReturned | None = None
    """What the sub-agent returned, if the call is delegated to one."""
    result: ToolResult | None = None

    def approval(self, args_sha256: str, arguments: dict[str, Any], policy_sha256: str) -> ApprovalRequested | None:
        """The approval of exactly this call under this policy, if any. Equal arguments match even if their hashes
        differ: a tool's types may normalise the same arguments to a new value each time."""
        asked, decided = self.request, self.decided
        if asked is None or decided is None or decided.decision != "approve" or asked.policy_sha256 != policy_sha256:
            return None
        same = asked.args_sha256 == args_sha256 or asked.arguments == arguments
        return asked.model_copy(update={"args_sha256": args_sha256}) if same else None

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Arguments of the call; None if what the model wrote is not a JSON object."""
        if self.intent is not None:
            return self.intent.arguments
        try:
            return self.call.function.parsed()
        except ValueError:
            return None

    @property
    def waits(self) -> bool:
        """Whether the call waits for a person's decision or for a sub-agent."""
        return self.waits_for_person or self.waits_for_agent

    @property
    def waits_for_person(self) -> bool:
        return self.result is None and self.request is not None and self.decided is None

    @property
    def waits_for_agent(self) -> bool:
        delegated = self.intent is not None and self.intent.performed_by is not None
        return self.result is None and delegated and self.returned is None


def call_states(run_id: str, step: int, decision: CallsDecided) -> list[CallState]:
    """States of the calls that a step decided, before any of them has begun."""
    sure = decision.model.confidence
    return [CallState(call, f"{run_id}:{step}:{index}", sure) for index, call in enumerate(decision.calls)]


@dataclass
class Turn:
    """A decision and the states of its calls."""

    decision: Planned | CallsDecided | Replied
    calls: list[CallState] = field(default_factory=list)

    @property
    def open(self) -> list[CallState]:
        return [call for call in self.calls if call.result is None]


class History:
    """The turns of one run. Mutable: ``add`` every event once, in order."""

    def __init__(self, run_id: str, events: Iterable[RunEvent] = ()) -> None:
        self.run_id = run_id
        self.events = 0
        """Number of events added. Values derived from the history are stale when it has changed."""
        self.turns: list[Turn] = []
        self.results: list[ToolResult] = []
        self.plans = 0
        self.unusable = 0  # model outputs without a valid decision
        self.plan: tuple[str, ...] = ()
        self.first_plan: tuple[str, ...] = ()
        self.failed_since_plan = False
        self.repeats_failure = False  # the latest call failed, and so did an identical call before it
        self.tainted = False
        self.judged_input = False
        self.compacted: ContextCompacted | None = None  # the latest
        self.chars_per_token: float | None = None  # ratio of the latest prompt whose tokens the model counted
        self.denied: list[ApprovalRequested] = []
        """Requests for approval that a person denied."""
        self.overtaken = 0
        """Fence of the latest worker that took over the run from one that may still be running."""
        self._failed: set[tuple[str, str]] = set()
        self._calls: dict[str, CallState] = {}
        for event in events:
            self.add(event)

    @property
    def last(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def kept(self) -> list[Turn]:
        """Turns that are still in the prompt, after compaction."""
        return self.turns[self.compacted.through_step :] if self.compacted else self.turns

    def call(self, call_id: str) -> CallState:
        return self._calls[call_id]

    def add(self, event: RunEvent) -> None:
        self.events += 1
        match event:
            case Planned() | CallsDecided() | Replied():
                self._decided(event)
            case ContextCompacted():
                self.compacted = event
                self.chars_per_token = event.chars_per_token
                self.tainted |= event.tainted
            case Judged():
                self.judged_input |= event.verdict.stage is Stage.INPUT
            case ChecksPassed():
                self.judged_input |= any(name.startswith(f"{Stage.INPUT}/") for name in event.passed.milliseconds)
            case ApprovalRequested() | ApprovalDecided() | RunEnded():
                self._approvals(event)
            case ToolIntent():
                self._calls[event.call_id].intent = event
            case AgentReturned():
                self._calls[event.call_id].returned = event
            case RunCreated() | RunStarted():
                self._began(event)
            case ToolResult():
                self._calls[event.call_id].result = event
                self._resulted(event, self._calls[event.call_id].call)
            case _:
                pass

    def _began(self, event: RunCreated | RunStarted) -> None:
        if isinstance(event, RunCreated):
            self.tainted |= event.parent is not None and event.parent.tainted
        elif event.overtaken:
            self.overtaken = event.fence

    def _approvals(self, event: ApprovalRequested | ApprovalDecided | RunEnded) -> None:
        if isinstance(event, ApprovalRequested):
            call = self._calls[event.call_id]
            call.request, call.decided = event, None
        elif isinstance(event, ApprovalDecided):
            call = self._calls[event.call_id]
            call.decided = event
            if event.decision == "deny" and call.request is not None:
                self.denied.append(call.request)
        else:  # pending requests are closed: a resumed run asks again
            for call in self.last.open if self.last else ():
                if call.waits_for_person:
                    call.request = None

    def _resulted(self, result: ToolResult, call: ToolCall) -> None:
        self.results.append(result)
        self.tainted |= result.tainted
        failed = not result.ok and result.then is None  # a call that is held back for another one has not failed
        self.failed_since_plan |= failed
        asked = (call.function.name, call.function.arguments)
        self.repeats_failure = failed and asked in self._failed
        if failed:
            self._failed.add(asked)

    def _decided(self, event: Planned | CallsDecided | Replied) -> None:
        turn = Turn(event)
        self.chars_per_token = event.model.chars_per_token or self.chars_per_token
        if isinstance(event, Planned):
            self.plans += 1
            self.plan = tuple(event.tools)
            self.first_plan = self.first_plan if self.plans > 1 else self.plan
            self.failed_since_plan = False
        elif isinstance(event, CallsDecided):
            self.unusable += not event.calls
            turn.calls = call_states(self.run_id, event.step, event)
            self._calls |= {state.call.id: state for state in turn.calls}
        self.turns.append(turn)


def result_text(result: ToolResult) -> str:
    """Text of a result as the model reads it."""
    if not result.ok:
        return f"error: {result.error or 'the call failed'}"
    text = result.content if isinstance(result.content, str) else dump(result.content)
    return f"{text}\n({result.note})" if result.note else text


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
