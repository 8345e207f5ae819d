"""Transcript of an attempt at a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.evals.task import Call
from flightloop.chat import FunctionCall
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, CallsDecided, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Run


@dataclass(frozen=True)
class Exchange:
    """One turn of the user: the ended run and its events."""

    run: Run
    events: tuple[RunEvent, ...]


@dataclass(frozen=True)
class Transcript:
    """The parts of a conversation that are compared with a task's expectations.

    Args:
        answers: one per message of the user.
        calls: executed calls, in order.
        asked: calls for which a person's approval or the user's own yes was requested, in order.
        last: the last run.
    """

    answers: Sequence[str]
    calls: Sequence[Call] = ()
    asked: Sequence[Call] = ()
    last: Run | None = None

    @classmethod
    def of(cls, exchanges: Sequence[Exchange]) -> Transcript:
        events = [event for exchange in exchanges for event in exchange.events]
        decided = {call.id: call.function for one in events if isinstance(one, CallsDecided) for call in one.calls}
        return cls(
            answers=[text_of(exchange.run.output or []) for exchange in exchanges],
            calls=[_call(event) for event in events if isinstance(event, ToolIntent)],
            asked=[one for event in events if (one := _asked(event, decided)) is not None],
            last=exchanges[-1].run if exchanges else None,
        )


def _asked(event: RunEvent, decided: Mapping[str, FunctionCall]) -> Call | None:
    """The call about which an event asks a person, or the user; None if it asks nobody."""
    if isinstance(event, ApprovalRequested):
        return _call(event)
    if isinstance(event, ToolResult) and event.to_confirm is not None:
        return Call(tool=event.tool, arguments=decided[event.call_id].parsed())
    return None


def _call(event: ToolIntent | ApprovalRequested) -> Call:
    return Call(tool=event.tool, arguments=event.arguments)
