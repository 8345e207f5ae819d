"""A run that begins with the first steps of another one."""

from __future__ import annotations

from collections.abc import Iterator

from agent.store import runs
from agent.store.backend import Transaction
from flightloop.chat import Usage
from flightloop.errors import Conflict, InvalidRequest
from flightloop.events import CallsDecided, ContextCompacted, Planned, Replied, RunEvent, ToolIntent, ToolResult
from flightloop.runs import Origin

PAGE = 1000
KEPT = (Planned, CallsDecided, ToolIntent, ToolResult, ContextCompacted)
"""What the next decision follows from. Verdicts and approvals belong to the run where they were given."""


def copies(tx: Transaction, tenant_id: str, origin: Origin) -> list[RunEvent]:
    """Of the events that a run forked there begins with. Nobody changes them, so any transaction may have read them.

    Raises:
        NotFound: the tenant has no such run.
        Conflict: a call of the step has no result yet, or the step is the answer.
        InvalidRequest: the run has no such step.
    """
    run = runs.find(tx, origin.run_id, tenant_id).state.run
    if origin.step > run.usage.steps:
        raise InvalidRequest(f"step: run {run.id} has {run.usage.steps} of them", param="step")
    return [_copied(event) for event in _until(tx, run.id, origin.step)]


def _until(tx: Transaction, run_id: str, step: int) -> Iterator[RunEvent]:
    """The steps' events. Raises Conflict where they don't lead to a next decision."""
    after, calls = 0, set[str]()
    while page := tx.events(run_id, after, PAGE):
        after = page[-1].seq
        for event in page:
            if not 0 < event.step <= step:
                continue
            if isinstance(event, Replied):
                raise Conflict(f"step {event.step} of run {run_id} is its answer: fork before it")
            if isinstance(event, CallsDecided):
                calls |= {call.id for call in event.calls}
            if isinstance(event, ToolResult):
                calls.discard(event.call_id)
            if isinstance(event, KEPT):
                yield event
    if calls:
        raise Conflict(f"step {step} of run {run_id} has calls without a result yet")


def _copied(event: RunEvent) -> RunEvent:
    """What it cost was paid by the run where it happened."""
    changes: dict[str, object] = {"copied": True}
    if isinstance(event, Planned | CallsDecided):
        changes["model"] = event.model.model_copy(update={"usage": Usage(), "cost": 0.0, "seconds": 0.0})
    return event.model_copy(update=changes)
