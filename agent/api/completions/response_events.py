"""Converts a guarded answer to events of the Responses protocol; the last event holds the whole response."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from agent.run.journal import new_id
from flightloop.chat import ChatChunk, ToolCallDelta, Usage
from flightloop.errors import FlightloopError
from flightloop.response_events import (
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
)
from flightloop.responses import (
    IncompleteDetails,
    InputTokensDetails,
    ItemStatus,
    OutputCall,
    OutputMessage,
    OutputText,
    ResponseCreate,
    ResponseError,
    ResponseObject,
    ResponseUsage,
)

_INCOMPLETE: dict[str, Literal["max_output_tokens", "content_filter"]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
Kind = Callable[..., ResponseEvent]
"""Constructor of an event type."""


class ResponseBuilder:
    """Builds one response and its events.

    Args:
        request: the request, whose options the response repeats.
    """

    def __init__(self, request: ResponseCreate) -> None:
        self.response = ResponseObject.begun(request, id=new_id("resp"), created_at=int(time.time()))
        self._sequence = 0
        self._message: OutputMessage | None = None
        self._finish_reason = "stop"

    async def events(self, chunks: AsyncIterator[ChatChunk]) -> AsyncIterator[ResponseEvent]:
        """Yields all events from ``response.created`` to ``response.completed`` or ``.incomplete``. Raises the errors
        of ``chunks``; the caller then sends ``failed`` as the last event."""
        async for chunk in chunks:
            if self._sequence == 0:
                self.response.model = chunk.model
                yield self._event(ResponseCreated, response=self._snapshot())
                yield self._event(ResponseInProgress, response=self._snapshot())
            for event in self._told(chunk):
                yield event
        for event in self._finished():
            yield event

    def failed(self, error: FlightloopError) -> ResponseEvent:
        self.response.status = "failed"
        self.response.error = ResponseError(code=error.code, message=error.message)
        return self._event(ResponseFailed, response=self._snapshot())

    def _told(self, chunk: ChatChunk) -> list[ResponseEvent]:
        self.response.flightloop = chunk.flightloop or self.response.flightloop
        self.response.usage = _usage(chunk.usage) if chunk.usage else self.response.usage
        events: list[ResponseEvent] = []
        for choice in chunk.choices:
            self._finish_reason = choice.finish_reason or self._finish_reason
            if choice.delta.content:
                events += self._said(choice.delta.content)
            for call in choice.delta.tool_calls or []:
                events += self._called(call)
            if choice.logprobs and self._message:
                self._message.content[0].logprobs = choice.logprobs.content
        return events

    def _said(self, text: str) -> list[ResponseEvent]:
        events = [] if self._message else self._opened()
        assert self._message is not None
        self._message.content[0].text += text
        return [*events, self._part_event(OutputTextDelta, delta=text, logprobs=[])]

    def _opened(self) -> list[ResponseEvent]:
        self._message = OutputMessage(id=new_id("msg"), status="in_progress")
        self.response.output.append(self._message)
        added = self._item_event(OutputItemAdded, self._message)
        self._message.content.append(OutputText(text=""))  # a separate object: this one grows, the event's doesn't
        return [added, self._part_event(ContentPartAdded, part=OutputText(text=""))]

    def _called(self, delta: ToolCallDelta) -> list[ResponseEvent]:
        """Events of a tool call; the guard only releases complete calls."""
        name, arguments = delta.function.name or "", delta.function.arguments or "{}"
        call = OutputCall(
            id=new_id("fc"), call_id=delta.id or new_id("call"), name=name, arguments="", status="in_progress"
        )
        self.response.output.append(call)
        added = self._item_event(OutputItemAdded, call)
        call.arguments, call.status = arguments, "completed"
        place = {"item_id": call.id, "output_index": len(self.response.output) - 1}
        return [
            added,
            self._event(FunctionCallArgumentsDelta, delta=arguments, **place),
            self._event(FunctionCallArgumentsDone, name=name, arguments=arguments, **place),
            self._item_event(OutputItemDone, call),
        ]

    def _finished(self) -> list[ResponseEvent]:
        reason = _INCOMPLETE.get(self._finish_reason)
        self.response.status = "incomplete" if reason else "completed"
        events = [] if self.response.output else self._opened()  # so that output_text is empty rather than missing
        if self._message:
            events += self._closed(self._message, "incomplete" if reason else "completed")
        if reason:
            self.response.incomplete_details = IncompleteDetails(reason=reason)
        else:
            self.response.completed_at = int(time.time())
        self.response.usage = self.response.usage or ResponseUsage()
        ended = ResponseIncomplete if reason else ResponseCompleted
        return [*events, self._event(ended, response=self._snapshot())]

    def _closed(self, message: OutputMessage, status: ItemStatus) -> list[ResponseEvent]:
        part = message.content[0]
        message.status = status
        return [
            self._part_event(OutputTextDone, text=part.text, logprobs=part.logprobs),
            self._part_event(ContentPartDone, part=part),
            self._item_event(OutputItemDone, message),
        ]

    def _part_event(self, kind: Kind, **fields: Any) -> ResponseEvent:
        assert self._message is not None
        place = {"item_id": self._message.id, "output_index": self._index(self._message), "content_index": 0}
        return self._event(kind, **place, **fields)

    def _item_event(self, kind: Kind, item: OutputMessage | OutputCall) -> ResponseEvent:
        return self._event(kind, output_index=self._index(item), item=item.model_copy(deep=True))

    def _index(self, item: OutputMessage | OutputCall) -> int:
        return self.response.output.index(item)

    def _snapshot(self) -> ResponseObject:
        return self.response.model_copy(deep=True)

    def _event(self, kind: Kind, **fields: Any) -> ResponseEvent:
        event = kind(sequence_number=self._sequence, **fields)
        self._sequence += 1
        return event


def _usage(usage: Usage) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.prompt_tokens_details.cached_tokens),
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
    )
