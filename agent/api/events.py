"""``GET /v1/runs/{id}/events``: the journal as server-sent events, resumable without gaps."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Annotated

from anyio import CancelScope
from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from agent.api.access import AnyViewer, Deps, stream_over
from agent.api.completions.cancellation import ended, until
from agent.api.deps import ApiDeps
from agent.api.errors import documented
from agent.api.runs import RunId
from agent.api.vouching import visible
from flightloop.errors import InvalidRequest
from flightloop.events import DeltaEvent, RunEvent, run_event

router = APIRouter(prefix="/v1/runs", tags=["runs"])
BATCH = 500
_HIDDEN = {"figures", "dry_run"}
"""What is used of limits, and what a call would change, may be about other people: only those who decide on approvals
see it."""
MOST = 2**31 - 1
"""Largest sequence number: the largest value of the databases' INTEGER column."""


@router.get(
    "/{run_id}/events",
    response_class=EventSourceResponse,
    responses={**documented(404), 200: {"description": "Events of the run.", "content": {"text/event-stream": {}}}},
)
async def run_events(
    run_id: RunId,
    request: Request,
    deps: Deps,
    caller: AnyViewer,
    after: Annotated[int, Query(ge=0, le=MOST, description="Only events after this sequence number.")] = 0,
    last_event_id: Annotated[
        str | None, Header(max_length=32, description="Overrides `after`; browsers send it when they reconnect.")
    ] = None,
) -> EventSourceResponse:
    """Streams a run's events. Durable events have their sequence number as `id:`; `delta` events (streamed text) have
    none.

    The stream ends after the event that ended the run, or when the caller's key is revoked.
    """
    run = visible(caller, await deps.journal.get(caller.tenant_id, run_id))  # a 404 instead of a stream
    begin = after if last_event_id is None else _sequence(last_event_id)
    stream = until(follow(deps, caller.tenant_id, run.id, begin), stream_over(request, deps))
    return EventSourceResponse(stream, ping=deps.heartbeat_s, sep="\n")


def _sequence(last_event_id: str) -> int:
    if not last_event_id.isdecimal() or int(last_event_id) > MOST:
        raise InvalidRequest(
            f"Last-Event-ID must be a sequence number, not {last_event_id!r}; leave it out to begin at the first event",
            param="Last-Event-ID",
        )
    return int(last_event_id)


def _sse(event: RunEvent) -> ServerSentEvent:
    data = run_event.dump_json(event, exclude=_HIDDEN).decode()
    identity = None if isinstance(event, DeltaEvent) else str(event.seq)
    return ServerSentEvent(data=data, event=event.type, id=identity)


async def _written(deps: ApiDeps, tenant_id: str, run_id: str, after: int) -> list[tuple[int, ServerSentEvent]]:
    """The next events, serialised, each with its sequence number. Yields to the event loop after each event."""
    async with deps.replays.one(tenant_id):
        written = []
        for event in await deps.journal.events(tenant_id, run_id, after, BATCH):
            written.append((event.seq, _sse(event)))
            await asyncio.sleep(0)
    return written


async def follow(deps: ApiDeps, tenant_id: str, run_id: str, after: int) -> AsyncGenerator[ServerSentEvent, None]:
    """Yields a run's events after a sequence number, and new ones until the run has ended.

    A delta is sent after the durable event that it follows, even if it arrives earlier.
    """
    with deps.deltas.listen(run_id) as deltas:
        said = deque[DeltaEvent]()
        while True:
            batch = await _written(deps, tenant_id, run_id, after)
            while not deltas.empty():
                said.append(deltas.get_nowait())
            for seq, event in batch:
                while said and said[0].after < seq:
                    yield _sse(said.popleft())
                after = seq
                yield event
            while said and said[0].after <= after:
                yield _sse(said.popleft())
            if batch:  # there may be more
                continue
            run = await deps.journal.get(tenant_id, run_id)
            if run.status.terminal and run.last_seq <= after:
                return
            if run.last_seq <= after:
                delta = await _something(deps, run_id, after, deltas)
                if delta is not None:
                    said.append(delta)


async def _something(deps: ApiDeps, run_id: str, after: int, deltas: asyncio.Queue[DeltaEvent]) -> DeltaEvent | None:
    """Waits for the next delta. Returns None if there is a durable event to read, or after four heartbeats."""
    written = asyncio.create_task(deps.journal.wait(run_id, after, deps.heartbeat_s * 4))
    arrived = asyncio.create_task(deltas.get())
    try:
        done, _ = await asyncio.wait({written, arrived}, return_when=asyncio.FIRST_COMPLETED)
        if written in done:
            written.result()
        return arrived.result() if arrived in done else None
    finally:
        with CancelScope(shield=True):
            await ended(written)
            await ended(arrived)
