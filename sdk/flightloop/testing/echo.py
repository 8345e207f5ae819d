"""A model that says the last message again, in both of OpenAI's protocols: enough to test a client's framing."""

from __future__ import annotations

import time

from flightloop.chat import ChatChunk, ChatCompletion, ChatRequest, Choice, ChunkChoice, Delta, ResponseMessage
from flightloop.response_events import (
    ContentPartAdded,
    ContentPartDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseInProgress,
)
from flightloop.responses import (
    FunctionCallItem,
    FunctionOutputItem,
    InputItem,
    InputText,
    OutputMessage,
    OutputText,
    ResponseCreate,
    ResponseObject,
    ResponseUsage,
)

_PLACE = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}


def completion(request: ChatRequest) -> ChatCompletion:
    message = ResponseMessage(content=request.messages[-1].text)
    choices = [Choice(index=index, message=message, finish_reason="stop") for index in range(request.n)]
    return ChatCompletion(id="chatcmpl-fake", created=int(time.time()), model=request.model, choices=choices)


def chunks(request: ChatRequest) -> list[ChatChunk]:
    now, words = int(time.time()), _words(request.messages[-1].text)
    deltas = [Delta(content=word) for word in words]
    choices = [ChunkChoice(index=index, delta=delta) for delta in deltas for index in range(request.n)]
    choices += [ChunkChoice(index=index, finish_reason="stop") for index in range(request.n)]
    return [ChatChunk(id="chatcmpl-fake", created=now, model=request.model, choices=[item]) for item in choices]


def response(request: ResponseCreate) -> ResponseObject:
    said = OutputMessage(id="msg_fake", status="completed", content=[OutputText(text=_text(request.input[-1]))])
    done = {"status": "completed", "completed_at": int(time.time()), "output": [said], "usage": ResponseUsage()}
    return _begun(request).model_copy(update=done)


def events(request: ResponseCreate) -> list[ResponseEvent]:
    begun, whole = _begun(request), response(request)
    text = whole.output_text
    part = OutputText(text=text)
    told: list[ResponseEvent] = [
        ResponseCreated(response=begun),
        ResponseInProgress(response=begun),
        OutputItemAdded(output_index=0, item=OutputMessage(id="msg_fake", status="in_progress")),
        ContentPartAdded(part=OutputText(text=""), **_PLACE),
        *(OutputTextDelta(delta=delta, **_PLACE) for delta in _words(text)),
        OutputTextDone(text=text, **_PLACE),
        ContentPartDone(part=part, **_PLACE),
        OutputItemDone(output_index=0, item=whole.output[0]),
        ResponseCompleted(response=whole),
    ]
    return [event.model_copy(update={"sequence_number": number}) for number, event in enumerate(told)]


def _begun(request: ResponseCreate) -> ResponseObject:
    return ResponseObject.begun(request, id="resp_fake", created_at=int(time.time()))


def _words(text: str) -> list[str]:
    """Pieces that make up the text."""
    return [word if index == 0 else f" {word}" for index, word in enumerate(text.split(" "))]


def _text(item: InputItem) -> str:
    if isinstance(item, FunctionCallItem):
        return item.arguments
    content = item.output if isinstance(item, FunctionOutputItem) else item.content
    return "\n".join(part.text for part in content if isinstance(part, InputText | OutputText))
