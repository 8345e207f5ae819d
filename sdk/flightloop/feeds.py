"""Streams of the API: events of a run (resumed after a broken connection), chunks of a chat, events of a response."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from flightloop.call import Call
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import error_for
from flightloop.events import DeltaEvent, RunEnded, RunEvent, RunResumed, run_event
from flightloop.response_events import (
    ResponseCompleted,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    response_event,
)
from flightloop.responses import ResponseCreate
from flightloop.sse import ServerEvent, SSEDecoder


class RunFeed:
    """Events of one run with a ``seq`` above ``after``; each durable event exactly once, in order.

    Done when the run has ended and the server closed the stream; with ``until_ended`` as soon as the run has ended;
    with ``until_seq`` after that event.
    """

    def __init__(
        self,
        run_id: str,
        after: int = 0,
        *,
        timeout_s: float | None = None,
        until_ended: bool = False,
        until_seq: int | None = None,
    ) -> None:
        self.done = False
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._path = f"/v1/runs/{quote(run_id, safe='')}/events"
        self._after = after
        self._until_ended, self._until_seq = until_ended, until_seq
        self._ended = False
        self._decoder = SSEDecoder()

    def call(self) -> Call[None]:
        headers = {"accept": "text/event-stream"}
        if self._after:
            headers["last-event-id"] = str(self._after)
        return Call("GET", self._path, lambda _: None, headers=headers)

    def push(self, chunk: bytes) -> Iterator[RunEvent]:
        for message in self._decoder.push(chunk):
            event = self._event(message)
            if event is not None:
                yield event
            if self.done:
                return

    def lost(self, *, whole: bool) -> None:
        self._decoder = SSEDecoder()
        # The run may have been resumed since its end, and a broken connection may have lost those events.
        self.done = whole and self._ended

    def _event(self, message: ServerEvent) -> RunEvent | None:
        durable = message.id is not None and message.id.isdecimal()
        seq = int(message.id) if durable and message.id else 0
        if durable and seq <= self._after:
            return None
        if durable:
            self._after = seq
            self.done = seq == self._until_seq
        try:
            event = run_event.validate_json(message.data)
        except ValidationError:
            return None  # an event type unknown to this version
        if durable:
            event.seq = seq
        elif not isinstance(event, DeltaEvent):
            return None
        self._note_end(event)
        return event

    def _note_end(self, event: RunEvent) -> None:
        if isinstance(event, RunEnded):
            self._ended = True
            self.done = self.done or self._until_ended
        elif isinstance(event, RunResumed):
            self._ended = False


class _AnswerFeed:
    """One answer of the model. A broken connection is an error, because tokens can't be requested again."""

    def __init__(self, path: str, request: BaseModel) -> None:
        self.done = False
        self.deadline: float | None = None
        self._path, self._request = path, request
        self._decoder = SSEDecoder()

    def call(self) -> Call[None]:
        headers = {"accept": "text/event-stream"}
        return Call("POST", self._path, lambda _: None, body=self._request, headers=headers, idempotent=False)

    def lost(self, *, whole: bool) -> None:
        """Does nothing: the stream can't be continued."""


class ChatFeed(_AnswerFeed):
    """Chunks of one completion."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__("/v1/chat/completions", request)

    def push(self, chunk: bytes) -> Iterator[ChatChunk]:
        for message in self._decoder.push(chunk):
            if message.data == "[DONE]":
                self.done = True
                return
            document = json.loads(message.data)
            if "error" in document:
                raise error_for(500, document)
            yield ChatChunk.model_validate(document)


class ResponseFeed(_AnswerFeed):
    """Events of one response up to the last. Raises the error of a failed response."""

    def __init__(self, request: ResponseCreate) -> None:
        super().__init__("/v1/responses", request)

    def push(self, chunk: bytes) -> Iterator[ResponseEvent]:
        for message in self._decoder.push(chunk):
            try:
                event = response_event.validate_json(message.data)
            except ValidationError as error:
                (first, *_) = error.errors()
                if (first["type"], first["loc"]) != ("union_tag_invalid", ()):
                    raise
                continue  # an event type unknown to this version
            if isinstance(event, ResponseFailed):
                raise error_for(500, event.response.model_dump(include={"error"}))
            self.done = isinstance(event, ResponseCompleted | ResponseIncomplete)
            yield event
            if self.done:
                return
