"""``/v1/runs``: create, list, read, and what can be done to a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel

from agent import commands
from agent.api.access import Caller, Deps
from agent.api.deps import ApiDeps
from agent.api.errors import documented
from agent.api.interrupted import refuse_if_interrupted
from agent.api.pages import After, Limit, unknown
from agent.budgets import resolve
from agent.context import CHARS_PER_TOKEN
from agent.journal import Idempotency, new_id
from flightloop.content import Content, TextPart, text_of
from flightloop.errors import Conflict, ContextTooLong, InvalidRequest, UnsupportedContent
from flightloop.events import FeedbackGiven, OutcomeVerified, RunCreated
from flightloop.runs import (
    AgentInfo,
    Feedback,
    Outcome,
    Page,
    Run,
    RunCreate,
    RunInterrupt,
    RunResume,
    RunStatus,
)
from observability import catalog

router = APIRouter(prefix="/v1/runs", tags=["runs"])
RunId = Annotated[str, Path(max_length=128)]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Makes a repeated request answer with the first one's run."),
]


@router.post("", status_code=201, responses=documented(404, 409, 413, 422, 423))
async def create_run(
    body: RunCreate,
    request: Request,
    response: Response,
    deps: Deps,
    caller: Caller,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Queues a run of an agent and returns at once."""
    agent = _agent(deps, body.agent)
    check_input(deps, body.input)
    await refuse_if_interrupted(deps, caller.tenant_id, body.agent, body.session_id)
    created = RunCreated(
        agent=agent.name,
        session_id=body.session_id or new_id("ses"),
        tenant_id=caller.tenant_id,
        input=body.input,
        budget=resolve(agent.budget, body.budget),
        metadata=body.metadata,
        policy_sha256=agent.policy_sha256,
    )
    idempotency = Idempotency(idempotency_key, _digest(body)) if idempotency_key else None
    with _in_flight(request.app.state.in_flight, (caller.tenant_id, idempotency_key)):
        made = await deps.journal.create(created, idempotency)
    if made.replayed:
        response.headers["idempotent-replayed"] = "true"
    response.headers["location"] = f"/v1/runs/{made.run.id}"
    return made.run


@router.get("", responses=documented(404))
async def list_runs(
    deps: Deps,
    caller: Caller,
    agent: str | None = None,
    status: RunStatus | None = None,
    session_id: str | None = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[Run]:
    """Newest first."""
    return await deps.journal.runs(
        caller.tenant_id, agent=agent, status=status, session_id=session_id, after=after, limit=limit
    )


@router.get("/{run_id}", responses=documented(404))
async def get_run(run_id: RunId, deps: Deps, caller: Caller) -> Run:
    return await deps.journal.get(caller.tenant_id, run_id)


@router.post("/{run_id}/cancel", responses=documented(404, 409))
async def cancel_run(run_id: RunId, deps: Deps, caller: Caller) -> Run:
    """Ends the run at its next step."""
    return await commands.cancel(deps.journal, caller.tenant_id, run_id, caller.name)


@router.post("/{run_id}/interrupt", responses=documented(404, 409))
async def interrupt_run(run_id: RunId, deps: Deps, caller: Caller, body: RunInterrupt | None = None) -> Run:
    """Emergency stop: ends the run in the middle of a token. Latched until the run is resumed."""
    reason = body.reason if body else ""
    run = await commands.interrupt(deps.journal, caller.tenant_id, run_id, caller.name, reason)
    deps.metrics.inc(catalog.GUARDRAIL_INTERRUPTS, scope="run")
    return run


@router.post("/{run_id}/resume", responses=documented(404, 409))
async def resume_run(run_id: RunId, deps: Deps, caller: Caller, body: RunResume | None = None) -> Run:
    """Goes on after an interrupt, or after an exhausted budget once that is raised."""
    budget = body.budget if body else None
    return await commands.resume(deps.journal, caller.tenant_id, run_id, caller.name, budget)


@router.post("/{run_id}/feedback", responses=documented(404, 409))
async def give_feedback(run_id: RunId, body: Feedback, deps: Deps, caller: Caller) -> Run:
    """How content the user is; a later one replaces it."""
    run = await deps.journal.get(caller.tenant_id, run_id)
    await deps.journal.append(run_id, [FeedbackGiven(feedback=body, step=run.usage.steps)])
    return await deps.journal.get(caller.tenant_id, run_id)


@router.post("/{run_id}/outcome", responses=documented(404, 409))
async def verify_outcome(run_id: RunId, body: Outcome, deps: Deps, caller: Caller) -> Run:
    """Whether the world is as it should be after the run, as somebody checked."""
    run = await deps.journal.get(caller.tenant_id, run_id)
    if not run.status.terminal:
        raise Conflict(f"run {run_id} is {run.status}: its outcome can be verified once it has ended")
    event = OutcomeVerified(solved=body.solved, by=body.by or caller.name, step=run.usage.steps)
    await deps.journal.append(run_id, [event])
    return await deps.journal.get(caller.tenant_id, run_id)


def check_input(deps: ApiDeps, content: Content) -> None:
    """Refuses what cannot be worked on: nothing, parts the model does not take, more than fits its context.

    Raises:
        InvalidRequest, UnsupportedContent, ContextTooLong: naming the field and the limit.
    """
    can = deps.model.capabilities
    for index, part in enumerate(content):
        if part.type not in can.parts:
            takes = ", ".join(sorted(can.parts))
            raise UnsupportedContent(f"the model takes no {part.type} parts; it takes: {takes}", param=f"input.{index}")
    text = text_of(content)
    if all(isinstance(part, TextPart) for part in content) and not text.strip():
        raise InvalidRequest("input: is empty; say what the agent should do", param="input")
    # As the run itself will count, which cannot ask the model either: it would fail before its first step.
    limit = None if can.context_length is None else int(can.context_length * CHARS_PER_TOKEN)
    if limit is not None and len(text) > limit:
        raise ContextTooLong(
            f"input: has {len(text)} characters; the model's context of {can.context_length} tokens is taken to hold"
            f" {limit}",
            param="input",
        )


def _agent(deps: ApiDeps, name: str) -> AgentInfo:
    known = {agent.name: agent for agent in deps.catalogue.agents()}
    if name not in known:
        raise unknown("agent", name, known, "agent")
    return known[name]


def _digest(body: BaseModel) -> str:
    """The same for the same payload, however its JSON was written."""
    plain: Any = body.model_dump(mode="json")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@contextmanager
def _in_flight(keys: set[tuple[str, str]], key: tuple[str, str | None]) -> Iterator[None]:
    tenant_id, name = key
    if name is None:
        yield
        return
    if (tenant_id, name) in keys:
        raise Conflict("a request with this Idempotency-Key is still being answered", param="Idempotency-Key")
    keys.add((tenant_id, name))
    try:
        yield
    finally:
        keys.discard((tenant_id, name))
