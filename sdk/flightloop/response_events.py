"""Events of a streamed response, in this order: created, in progress, each output item from ``added`` to ``done`` with
its parts in between, and finally the whole response: completed, incomplete or failed.

Source: OpenAI API reference, "Responses", "Streaming events".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, TypeAdapter

from flightloop.chat import TokenLogprob
from flightloop.content import Wire
from flightloop.responses import OutputCall, OutputMessage, OutputText, ResponseObject


class _Numbered(Wire):
    sequence_number: int = 0
    """Gapless from 0."""


class _OfResponse(_Numbered):
    response: ResponseObject
    """The response at this point."""


class _OfItem(_Numbered):
    output_index: int
    """Index of the item in the response's ``output``."""
    item: OutputMessage | OutputCall


class _InItem(_Numbered):
    item_id: str
    output_index: int


class _InPart(_InItem):
    content_index: int
    """Index of the part in the message's ``content``."""


class ResponseCreated(_OfResponse):
    type: Literal["response.created"] = "response.created"


class ResponseInProgress(_OfResponse):
    type: Literal["response.in_progress"] = "response.in_progress"


class OutputItemAdded(_OfItem):
    type: Literal["response.output_item.added"] = "response.output_item.added"


class ContentPartAdded(_InPart):
    type: Literal["response.content_part.added"] = "response.content_part.added"
    part: OutputText


class OutputTextDelta(_InPart):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str
    logprobs: list[TokenLogprob] = Field(default_factory=list)


class OutputTextDone(_InPart):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str
    logprobs: list[TokenLogprob] = Field(default_factory=list)


class ContentPartDone(_InPart):
    type: Literal["response.content_part.done"] = "response.content_part.done"
    part: OutputText


class FunctionCallArgumentsDelta(_InItem):
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    delta: str


class FunctionCallArgumentsDone(_InItem):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    name: str
    arguments: str
    """A JSON object as text."""


class OutputItemDone(_OfItem):
    type: Literal["response.output_item.done"] = "response.output_item.done"


class ResponseCompleted(_OfResponse):
    type: Literal["response.completed"] = "response.completed"


class ResponseIncomplete(_OfResponse):
    """The reason is in the response's ``incomplete_details``."""

    type: Literal["response.incomplete"] = "response.incomplete"


class ResponseFailed(_OfResponse):
    """The reason is in the response's ``error``. The client raises it."""

    type: Literal["response.failed"] = "response.failed"


ResponseEvent = Annotated[
    ResponseCreated
    | ResponseInProgress
    | OutputItemAdded
    | ContentPartAdded
    | OutputTextDelta
    | OutputTextDone
    | ContentPartDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | OutputItemDone
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed,
    Discriminator("type"),
]

response_event: TypeAdapter[ResponseEvent] = TypeAdapter(ResponseEvent)
"""Validates and dumps any event."""
