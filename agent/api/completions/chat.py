"""``/v1/chat/completions`` and ``/v1/models``: OpenAI's protocol with the guard of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from agent.api.access import AnyOperator, AnyViewer, Deps, admit_subject, caller_gone, unanswered
from agent.api.bodies import BodyRoute
from agent.api.completions.admission import admit
from agent.api.completions.cancellation import first_of
from agent.api.completions.choices import choices
from agent.api.completions.models import known_models
from agent.api.completions.streamed import Streamed, open_reading
from agent.api.errors import documented
from agent.api.vouching import vouched
from agent.model_call.reading import Reading
from flightloop.answer import completed
from flightloop.chat import (
    ChatChunk,
    ChatCompletion,
    ChatCreate,
)
from flightloop.errors import FlightloopError, InternalError
from flightloop.model_card import ModelCard

router = APIRouter(prefix="/v1", tags=["chat"], route_class=BodyRoute)
log = structlog.get_logger(__name__)


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelCard]


@router.get("/models", responses=documented(503))
async def list_models(request: Request, caller: AnyViewer) -> ModelList:
    return ModelList(data=await known_models(request).cards())


@router.get("/models/{model_id:path}", responses=documented(404, 503))
async def get_model(model_id: str, request: Request, caller: AnyViewer) -> ModelCard:
    return await known_models(request).card(model_id)


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The answer; server-sent chunks with `stream`."},
        **documented(404, 409, 413, 422, 423, 429, 503),
    },
)
async def complete(body: ChatCreate, request: Request, deps: Deps, caller: AnyOperator) -> Response:
    """Answers a conversation. If the client disconnects, checks and decoding stop."""
    admit_subject(request, caller, vouched(caller, body.subject))
    admission = admit(deps, known_models(request), body, caller, request.headers)
    admitted = await first_of(admission, caller_gone(request, deps))
    if admitted is None:
        return await unanswered(request, deps)
    chunks = choices(deps, admitted)
    if not body.stream:
        completion = await first_of(completed(chunks, body.n), caller_gone(request, deps))
        if completion is None:
            return await unanswered(request, deps)
        return JSONResponse(_plain_completion(completion))
    # Errors before the first token can still use an HTTP status.
    opened = await open_reading(chunks, request, deps)
    if opened is None:
        return await unanswered(request, deps)
    first, reading = opened
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    return Streamed(_as_sse(first, reading, include_usage), reading, deps.heartbeat_s)


async def _as_sse(first: ChatChunk, chunks: Reading, include_usage: bool) -> AsyncIterator[ServerSentEvent]:
    """Yields the chunks as events, then ``[DONE]``, or an error document because the status was already sent."""
    try:
        yield ServerSentEvent(_plain_chunk(first))
        async for chunk in chunks:
            if chunk.choices or include_usage:
                yield ServerSentEvent(_plain_chunk(chunk))
        yield ServerSentEvent("[DONE]")
    except FlightloopError as error:
        yield ServerSentEvent(json.dumps(error.body()))
    except Exception:
        log.exception("unexpected error in a stream")
        yield ServerSentEvent(json.dumps(InternalError("unexpected error; see the server's log").body()))


def _plain_chunk(chunk: ChatChunk) -> str:
    document = chunk.model_dump(mode="json", exclude_none=True)
    for choice in document["choices"]:
        choice.setdefault("finish_reason", None)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _plain_completion(completion: ChatCompletion) -> dict[str, Any]:
    document = completion.model_dump(mode="json", exclude_none=True)
    for choice in document["choices"]:
        choice["message"].setdefault("content", None)
        choice.setdefault("logprobs", None)
    return document
