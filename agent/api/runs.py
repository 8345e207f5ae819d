"""``/v1/runs``: create, list, read and control runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from agent.api.access import AnyOperator, AnyViewer, Deps, Operator
from agent.api.bodies import BodyRoute
from agent.api.deps import ApiDeps
from agent.api.errors import documented
from agent.api.forking import policy_of_fork, turn
from agent.api.idempotency import IdempotencyKey
from agent.api.intake import sender_of, take_in
from agent.api.interrupted import refuse_if_interrupted
from agent.api.pages import After, Limit, unknown
from agent.api.starting import started
from agent.api.vouching import may_continue, visible, visible_subject, vouched
from agent.attachments.figures import characters
from agent.attachments.images import TakenIn
from agent.attachments.shown import budget, tables_shown
from agent.loop.attached import first_event
from agent.loop.context import CHARS_PER_TOKEN
from agent.run import commands
from agent.run.budgets import resolve
from agent.run.journal import new_id
from agent.run.state import check_fork
from flightloop.content import Content, TextPart, has_images, text_of
from flightloop.errors import Conflict, ContextTooLong, InvalidRequest
from flightloop.events import FeedbackGiven, OutcomeVerified, RunCreated
from flightloop.limits import METADATA, TEXT_CHARS
from flightloop.predictions import PREDICT
from flightloop.runs import (
    AgentInfo,
    Feedback,
    Origin,
    Outcome,
    Page,
    Run,
    RunCreate,
    RunFork,
    RunInterrupt,
    RunResume,
    RunStatus,
)
from flightloop.subject import Subject
from guardrails.aside import aside, on_behalf_of
from observability import catalog
from observability.trace_id import valid_traceparent

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=BodyRoute)
RunId = Annotated[str, Path(max_length=128)]


@router.post("", status_code=201, responses=documented(404, 409, 413, 422, 423))
async def create_run(
    body: RunCreate,
    request: Request,
    response: Response,
    deps: Deps,
    caller: AnyOperator,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Queues a run of an agent and returns immediately.

    `subject` is the end user on whose behalf it acts: an id, or an object with `id` and `claims`. The caller's key
    vouches for it. A session belongs to one subject.
    """
    subject = vouched(caller, body.subject)
    agent = _agent(deps, body.agent)
    await check_input(deps, caller.tenant_id, body.input)
    if body.session_id is not None:  # before the stops: those of another's session are not told
        await deps.journal.check_session(caller.tenant_id, body.session_id, subject.id if subject else None)
    await refuse_if_interrupted(deps, caller.tenant_id, body.agent, body.session_id, subject)

    async def made() -> RunCreated:
        taken = await _taken_input(deps, body.input, caller.tenant_id, agent, subject)
        return RunCreated(
            agent=agent.name,
            session_id=body.session_id or new_id("ses"),
            tenant_id=caller.tenant_id,
            subject=subject,
            input=taken.content,
            readings=taken.readings,
            budget=resolve(agent.budget, body.budget),
            session_budget=resolve(agent.session_budget, body.session_budget),
            metadata=body.metadata,
            policy_sha256=agent.policy_sha256,
            traceparent=valid_traceparent(request.headers.get("traceparent")),
        )

    return await started(request, response, deps, caller, subject, made, body, idempotency_key)


@router.get("", responses=documented(404))
async def list_runs(
    deps: Deps,
    caller: AnyViewer,
    agent: str | None = None,
    status: RunStatus | None = None,
    session_id: str | None = None,
    subject: Annotated[str | None, Query(description="Only runs for the subject with this id.", max_length=200)] = None,
    parent: Annotated[str | None, Query(description="Only sub-runs of this run.", max_length=128)] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[Run]:
    """Lists runs, newest first."""
    if after is not None and caller.bound:
        visible(caller, await deps.journal.get(caller.tenant_id, after))
    return await deps.journal.runs(
        caller.tenant_id,
        agent=agent,
        status=status,
        session_id=session_id,
        subject=visible_subject(caller, subject),
        parent=parent,
        after=after,
        limit=limit,
    )


@router.get("/{run_id}", responses=documented(404))
async def get_run(run_id: RunId, deps: Deps, caller: AnyViewer) -> Run:
    return visible(caller, await deps.journal.get(caller.tenant_id, run_id))


@router.post("/{run_id}/cancel", responses=documented(404, 409))
async def cancel_run(run_id: RunId, deps: Deps, caller: AnyOperator) -> Run:
    """Ends the run at its next step. Tools in progress get 0.4 s to finish."""
    visible(caller, await deps.journal.get(caller.tenant_id, run_id))
    return await commands.cancel(deps.journal, caller.tenant_id, run_id, caller.name)


@router.post("/{run_id}/interrupt", responses=documented(404, 409))
async def interrupt_run(run_id: RunId, deps: Deps, caller: Operator, body: RunInterrupt | None = None) -> Run:
    """Emergency stop: ends the run at the next token. It stays stopped until it is resumed."""
    reason = body.reason if body else ""
    run = await commands.interrupt(deps.journal, caller.tenant_id, run_id, caller.name, reason, caller.actor)
    deps.metrics.inc(catalog.GUARDRAIL_INTERRUPTS, scope="run")
    return run


@router.post("/{run_id}/resume", responses=documented(404, 409))
async def resume_run(run_id: RunId, deps: Deps, caller: Operator, body: RunResume | None = None) -> Run:
    """Continues a run after an interrupt, or after an exhausted budget was raised."""
    may_continue(caller, await deps.journal.get(caller.tenant_id, run_id))
    asked = body or RunResume()
    return await commands.resume(
        deps.journal,
        caller.tenant_id,
        run_id,
        caller.name,
        asked.budget,
        asked.session_budget,
        deps.tenants,
        caller.actor,
    )


@router.post("/{run_id}/fork", status_code=201, responses=documented(404, 409, 413, 422, 423, 503))
async def fork_run(
    run_id: RunId,
    body: RunFork,
    request: Request,
    response: Response,
    deps: Deps,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Queues a run that begins with the first steps of this one, optionally with another input or model.

    The fork keeps this run's subject and policy. Another policy needs the role admin and is audited.
    """
    parent = await deps.journal.get(caller.tenant_id, run_id)
    check_fork(parent)
    if parent.parent is not None:
        raise Conflict(f"run {run_id} is a sub-run of run {parent.parent.run_id}: fork that run instead")
    subject = may_continue(caller, parent)
    agent, model = _agent(deps, parent.agent), body.model or parent.model
    known = {policy.name: policy.sha256 for policy in deps.catalogue.policies()}
    policy = policy_of_fork(parent, agent, body, known, caller)
    if model is not None:
        await request.app.state.models.require(model)
    content = body.input or parent.input
    await check_input(deps, caller.tenant_id, content)
    session_id = new_id("ses")
    # A stop of the session of the run that the fork goes on with holds for the fork too.
    await refuse_if_interrupted(deps, caller.tenant_id, agent.name, parent.session_id, subject)

    async def made() -> RunCreated:
        taken = await _input_of_fork(deps, parent, body, agent, subject)
        return RunCreated(
            agent=agent.name,
            session_id=session_id,
            tenant_id=caller.tenant_id,
            subject=subject,
            input=taken.content,
            readings=taken.readings,
            budget=resolve(agent.budget, body.budget or parent.budget),
            session_budget=resolve(agent.session_budget, parent.session_budget),
            metadata=_merged(parent.metadata, body.metadata),
            policy_sha256=policy.sha256,
            origin=Origin(run_id=run_id, step=body.step),
            policy=policy.name,
            model=model,
            traceparent=valid_traceparent(request.headers.get("traceparent")),
        )

    record = [policy.record] if policy.record else []
    async with turn(deps.forks, caller.tenant_id):
        return await started(request, response, deps, caller, subject, made, body, idempotency_key, record)


@router.post("/{run_id}/feedback", responses=documented(404, 409))
async def give_feedback(run_id: RunId, body: Feedback, deps: Deps, caller: AnyOperator) -> Run:
    """Records the user's satisfaction; replaces earlier feedback."""
    deps.room.check()
    run = visible(caller, await deps.journal.get(caller.tenant_id, run_id))
    await deps.journal.append(run_id, [FeedbackGiven(feedback=body, step=run.usage.steps)])
    return await deps.journal.get(caller.tenant_id, run_id)


@router.post("/{run_id}/outcome", responses=documented(404, 409))
async def verify_outcome(run_id: RunId, body: Outcome, deps: Deps, caller: Operator) -> Run:
    """Records whether the run had the intended effect, as verified by a person or a program."""
    deps.room.check()
    run = await deps.journal.get(caller.tenant_id, run_id)
    if not run.status.terminal:
        raise Conflict(f"run {run_id} is {run.status}: its outcome can only be verified after it has ended")
    event = OutcomeVerified(solved=body.solved, by=body.by or caller.name, step=run.usage.steps)
    await deps.journal.append(run_id, [event])
    return await deps.journal.get(caller.tenant_id, run_id)


async def check_input(deps: ApiDeps, tenant_id: str, content: Content) -> None:
    """Refuses input that is empty, or too long for the model's context.

    Raises:
        InvalidRequest, ContextTooLong: name the field and the limit.
    """
    can = deps.model.capabilities
    with on_behalf_of(tenant_id):
        text, shown = await aside(characters(content), _texts, content, budget(can.context_length))
    if all(isinstance(part, TextPart) for part in content) and not text.strip():
        raise InvalidRequest("input: is empty; say what the agent should do", param="input")
    if len(text) > TEXT_CHARS:
        raise InvalidRequest(f"input: has {len(text)} characters; the limit is {TEXT_CHARS}", param="input")
    # Uses the run's own estimate, so that a run does not fail before its first step.
    if can.context_length is not None and len(shown) > (limit := int(can.context_length * CHARS_PER_TOKEN)):
        given = f"the input has {len(shown)} characters, and about {limit} fit"
        raise ContextTooLong.of(can.context_length, given, "input")


def _texts(content: Content, most: int) -> tuple[str, str]:
    """The whole text, and the text that the model gets."""
    return text_of(content), text_of(tables_shown(content, most))


async def _taken_input(
    deps: ApiDeps, content: Content, tenant_id: str, agent: AgentInfo, subject: Subject | None
) -> TakenIn:
    """The input with its images as stored. They are read unless the model sees them itself.

    Raises:
        InvalidRequest, UnsupportedContent, Overloaded: an image can't be used.
    """
    sees = deps.model.capabilities.sees
    return await take_in(deps, content, sender_of(deps, tenant_id, agent, subject), "input", read=not sees)


async def _input_of_fork(
    deps: ApiDeps, parent: Run, body: RunFork, agent: AgentInfo, subject: Subject | None
) -> TakenIn:
    if body.input is not None:
        return await _taken_input(deps, body.input, parent.tenant_id, agent, subject)
    if not has_images(parent.input):
        return TakenIn(parent.input)
    created = await first_event(deps.journal, parent)
    return TakenIn(created.input, created.readings)


def _merged(kept: dict[str, str], added: dict[str, str]) -> dict[str, str]:
    """Metadata of the forked run, updated by the request's. Raises InvalidRequest if there are too many entries."""
    metadata = {**kept, **added}
    if len(metadata) > METADATA:
        told = f"metadata: {len(metadata)} entries, including those of the forked run, exceed the limit of {METADATA}"
        raise InvalidRequest(told, param="metadata")
    return metadata


def _agent(deps: ApiDeps, name: str) -> AgentInfo:
    known = {agent.name: agent for agent in deps.catalogue.agents()}
    if name == PREDICT and name not in known:
        return deps.catalogue.predictor()
    if name not in known:
        raise unknown("agent", name, known, "agent")
    return known[name]
