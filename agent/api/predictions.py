"""``/v1/predictions``: a run that describes a chart, table or text, and its answer with evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from agent.api.access import AnyOperator, AnyViewer, Deps
from agent.api.bodies import BodyRoute
from agent.api.deps import ApiDeps
from agent.api.errors import documented
from agent.api.idempotency import IdempotencyKey
from agent.api.intake import sender_of, take_in
from agent.api.interrupted import refuse_if_interrupted
from agent.api.runs import check_input
from agent.api.starting import started
from agent.api.vouching import visible, vouched
from agent.attachments.figures import characters
from agent.attachments.prediction import prediction_of
from agent.loop.attached import first_event, let_through
from agent.loop.session import earlier
from agent.run.budgets import resolve
from agent.run.journal import new_id
from flightloop.content import ImagePart, TablePart, has_images
from flightloop.errors import Conflict
from flightloop.events import RunCreated
from flightloop.predictions import Prediction, PredictionCreate, input_of
from flightloop.runs import Run
from flightloop.verdicts import Action, Stage
from guardrails.aside import aside, on_behalf_of
from guardrails.types import Checked, GuardContext, Guarding
from observability.trace_id import valid_traceparent

router = APIRouter(prefix="/v1/predictions", tags=["predictions"], route_class=BodyRoute)


@router.post("", status_code=201, responses=documented(404, 409, 413, 422, 423, 429))
async def predict(
    body: PredictionCreate,
    request: Request,
    response: Response,
    deps: Deps,
    caller: AnyOperator,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Reads images, and queues a run of the agent `predict` that describes them or answers the question.

    `GET /v1/predictions/{id}` has its answer once the run has ended.
    """
    subject = vouched(caller, body.subject)
    agent = deps.catalogue.predictor()
    content = input_of(body)
    await check_input(deps, caller.tenant_id, content)
    if body.session_id is not None:
        await deps.journal.check_session(caller.tenant_id, body.session_id, subject.id if subject else None)
    await refuse_if_interrupted(deps, caller.tenant_id, agent.name, body.session_id, subject)

    async def made() -> RunCreated:
        sender = sender_of(deps, caller.tenant_id, agent, subject)
        images = [ImagePart(image_url=image) for image in body.images]
        taken = await take_in(deps, images, sender, "images", read=True)
        return RunCreated(
            agent=agent.name,
            session_id=body.session_id or new_id("ses"),
            tenant_id=caller.tenant_id,
            subject=subject,
            input=[*content, *taken.content],
            readings=taken.readings,
            budget=resolve(agent.budget, body.budget),
            session_budget=agent.session_budget,
            metadata=body.metadata,
            policy_sha256=agent.policy_sha256,
            traceparent=valid_traceparent(request.headers.get("traceparent")),
        )

    return await started(request, response, deps, caller, subject, made, body, idempotency_key)


@router.get("/{run_id}", responses=documented(404, 409))
async def get_prediction(run_id: Annotated[str, Path(max_length=128)], deps: Deps, caller: AnyViewer) -> Prediction:
    """The answer of an ended run: its description, and the facts that code has computed from the data.

    A follow-up in a session is about the session's latest images and tables.
    """
    run = visible(caller, await deps.journal.get(caller.tenant_id, run_id))
    if not run.status.terminal:
        raise Conflict(f"run {run_id} is {run.status}: it has a prediction once it has ended")
    data = await _data_of(deps, run)
    guard, context = deps.catalogue.guard_of(run), GuardContext(run.tenant_id, run.agent, run.session_id, run.id)
    readings = await let_through(guard, data.readings if data else (), context)
    size = characters(data.input, data.readings) if data else 0
    with on_behalf_of(caller.tenant_id):
        found = await aside(size, prediction_of, run, data, readings)
    return await _checked(found, guard, context) if found.described_by == "code" else found


async def _checked(found: Prediction, guard: Guarding, context: GuardContext) -> Prediction:
    """A prediction that code describes, with the description as the guard lets it through."""
    # Code has computed the description from the data, so that it bears itself out.
    itself = replace(context, results=(found.description,))
    ruling = await guard.check(Checked(Stage.FINAL, found.description, itself))
    if ruling.action.severity < Action.ASK.severity:
        return found.model_copy(update={"description": ruling.text})
    return Prediction(
        run_id=found.run_id,
        session_id=found.session_id,
        status=found.status,
        description="A guardrail withheld the description and the data.",
        described_by="code",
    )


async def _data_of(deps: ApiDeps, run: Run) -> RunCreated | None:
    """Beginning of the run that has the images and tables which ``run`` is about."""
    for one in (run, *reversed(await earlier(deps.journal, run))):
        if has_images(one.input) or any(isinstance(part, TablePart) for part in one.input):
            return await first_event(deps.journal, one)
    return None
