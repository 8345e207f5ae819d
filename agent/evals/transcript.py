"""Transcript of an attempt at a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.evals.task import Call
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, RunEvent, ToolIntent
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
        answers: one per turn.
        calls: executed calls, in order.
        asked: calls for which approval was requested, in order.
        last: the run of the last turn.
    """

    answers: Sequence[str]
    calls: Sequence[Call] = ()
    asked: Sequence[Call] = ()
    last: Run | None = None

    @classmethod
    def of(cls, exchanges: Sequence[Exchange]) -> Transcript:
        events = [event for exchange in exchanges for event in exchange.events]
        return cls(
            answers=[text_of(exchange.run.output or []) for exchange in exchanges],
            calls=[_call(event) for event in events if isinstance(event, ToolIntent)],
            asked=[_call(event) for event in events if isinstance(event, ApprovalRequested)],
            last=exchanges[-1].run if exchanges else None,
        )


def _call(event: ToolIntent | ApprovalRequested) -> Call:
    return Call(tool=event.tool, arguments=event.arguments)
