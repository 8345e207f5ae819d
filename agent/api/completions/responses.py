"""``/v1/responses``: OpenAI's Responses protocol, processed like a chat completion."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import ServerSentEvent

from agent.api.access import AnyOperator, Deps, admit_subject, caller_gone, unanswered
from agent.api.bodies import BodyRoute
from agent.api.completions.admission import admit
from agent.api.completions.cancellation import first_of
from agent.api.completions.choices import choices
from agent.api.completions.models import known_models
from agent.api.completions.response_events import ResponseBuilder
from agent.api.completions.response_request import translated
from agent.api.completions.streamed import Streamed, open_reading
from agent.api.errors import documented
from agent.api.vouching import vouched
from agent.model_call.reading import Reading
from flightloop.chat import ChatChunk
from flightloop.errors import FlightloopError, InternalError
from flightloop.response_events import ResponseEvent
from flightloop.responses import ResponseCreate, ResponseObject

router = APIRouter(prefix="/v1", tags=["responses"], route_class=BodyRoute)
log = structlog.get_logger(__name__)


@router.post(
    "/responses",
    response_model=ResponseObject,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "The response; its events with `stream`."},
        **documented(404, 409, 413, 422, 423, 429, 503),
    },
)
async def respond(body: ResponseCreate, request: Request, deps: Deps, caller: AnyOperator) -> Response:
    """Answers a conversation without storing it. If the client disconnects, checks and decoding stop."""
    admit_subject(request, caller, vouched(caller, body.subject))
    chat, translation = translated(body)
    try:
        admission = admit(deps, known_models(request), chat, caller, request.headers)
        admitted = await first_of(admission, caller_gone(request, deps))
    except FlightloopError as error:
        raise translation.renamed(error) from error
    if admitted is None:
        return await unanswered(request, deps)
    chunks, builder = translation.renaming(choices(deps, admitted)), ResponseBuilder(body)
    if not body.stream:
        whole = await first_of(_last(builder, chunks), caller_gone(request, deps))
        if whole is None:
            return await unanswered(request, deps)
        return JSONResponse(whole.model_dump(mode="json", by_alias=True))
    # Errors before the first token can still use an HTTP status.
    opened = await open_reading(chunks, request, deps)
    if opened is None:
        return await unanswered(request, deps)
    first, reading = opened
    return Streamed(_as_sse(builder, first, reading), reading, deps.heartbeat_s)


async def _last(builder: ResponseBuilder, chunks: AsyncGenerator[ChatChunk, None]) -> ResponseObject:
    async with aclosing(chunks):
        async for _ in builder.events(chunks):
            pass
    return builder.response


async def _as_sse(builder: ResponseBuilder, first: ChatChunk, chunks: Reading) -> AsyncIterator[ServerSentEvent]:
    """Yields the response's events. Errors become a last ``response.failed``, because the status was already sent."""
    try:
        async for event in builder.events(_after(first, chunks)):
            yield _sse(event)
    except FlightloopError as error:
        yield _sse(builder.failed(error))
    except Exception:
        log.exception("unexpected error in a stream")
        yield _sse(builder.failed(InternalError("unexpected error; see the server's log")))


async def _after(first: ChatChunk, rest: AsyncIterator[ChatChunk]) -> AsyncIterator[ChatChunk]:
    yield first
    async for chunk in rest:
        yield chunk


def _sse(event: ResponseEvent) -> ServerSentEvent:
    return ServerSentEvent(event.model_dump_json(by_alias=True), event=event.type)
