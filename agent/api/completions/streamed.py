"""Streams an answer as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from anyio import CancelScope
from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from agent.api.access import caller_gone, stream_over
from agent.api.completions.cancellation import first_of
from agent.api.deps import ApiDeps
from agent.model_call.reading import Reading
from flightloop.chat import ChatChunk


async def open_reading(
    chunks: AsyncGenerator[ChatChunk, None], request: Request, deps: ApiDeps
) -> tuple[ChatChunk, Reading] | None:
    """Waits for the answer's first chunk. Returns it with a `Reading` of the rest, which stops when ``stream_over``
    returns; None if ``caller_gone`` returns first.

    Errors before the first chunk are raised, so that they can still become an HTTP error status.
    """
    reading = Reading(chunks)
    try:
        first = await first_of(anext(reading), caller_gone(request, deps))
    except BaseException:
        await _closed(reading)
        raise
    if first is None:
        await _closed(reading)
        return None
    reading.end_with(stream_over(request, deps))
    return first, reading


class Streamed(EventSourceResponse):
    """Response of server-sent events from a reading; closes the reading at the end or when the client disconnects."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], reading: Reading, heartbeat_s: float) -> None:
        super().__init__(events, ping=heartbeat_s, sep="\n")
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await _closed(self._reading)


async def _closed(reading: Reading) -> None:
    # A cancelled response is cancelled again at every await, so the clean-up must be shielded.
    with CancelScope(shield=True):
        await reading.aclose()
