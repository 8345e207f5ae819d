"""Translates a request of the Responses protocol to a chat request."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError

from flightloop.chat import (
    AllowedTools,
    AllowedToolsChoice,
    ChatChunk,
    ChatMessage,
    ChatRequest,
    FunctionCall,
    FunctionDef,
    JsonSchemaFormat,
    NamedFunction,
    NamedToolChoice,
    ResponseFormat,
    ToolCall,
    ToolChoice,
    ToolDef,
)
from flightloop.content import ImagePart, ImageUrl, Part, TextPart
from flightloop.errors import FlightloopError, InvalidRequest, invalid_request
from flightloop.responses import (
    AllowedFunctions,
    FunctionCallItem,
    FunctionChoice,
    FunctionOutputItem,
    FunctionTool,
    InputImage,
    ItemPart,
    MessageItem,
    Refusal,
    ResponseCreate,
    TextFormat,
)

LOGPROBS = "message.output_text.logprobs"


_CONTENT = re.compile(r"(^|; )messages\[(\d+)\](\.content)?(?:\.tool_calls[\w.\[\]]*)?")
_RENAMED = [
    (re.compile(rf"(^|; ){chat}"), rf"\1{own}")
    for chat, own in (
        ("messages", "input"),
        (r"(input\[\d+\])(?:\.output)?\.tool_call_id", r"\2.call_id"),
        (r"(tools\[\d+\])\.function", r"\2"),
        (r"response_format(?:\.json_schema)?", "text.format"),
        (r"tool_choice\.(?:allowed_tools|function)", "tool_choice"),
        ("max_completion_tokens", "max_output_tokens"),
    )
]
"""Renames chat fields at the start of an error message or ``param`` to those of the Responses protocol."""


@dataclass(frozen=True)
class Source:
    """Request field from which a message was made; ``content``: its subfield with the content, empty if it has none."""

    field: str
    content: str = ""


@dataclass
class Translation:
    """Messages of the chat request, with the source of each."""

    messages: list[ChatMessage] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def add(self, message: ChatMessage, source: Source) -> None:
        self.messages.append(message)
        self.sources.append(source)

    def renamed(self, error: FlightloopError) -> FlightloopError:
        """The error with field names of the Responses protocol."""
        param = self._own(error.param) if error.param else None
        return type(error)(self._own(error.message), param=param, retry_after=error.retry_after)

    async def renaming(self, chunks: AsyncGenerator[ChatChunk, None]) -> AsyncGenerator[ChatChunk, None]:
        """Yields the chunks, and raises their errors as returned by ``renamed``."""
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
        except FlightloopError as error:
            raise self.renamed(error) from error

    def _own(self, text: str) -> str:
        text = _CONTENT.sub(self._source, text)
        for chat, own in _RENAMED:
            text = chat.sub(own, text)
        return text

    def _source(self, found: re.Match[str]) -> str:
        before, number, content = found.groups()
        source = self.sources[int(number)] if int(number) < len(self.sources) else Source("input")
        return before + source.field + (f".{source.content}" if content and source.content else "")


def translated(request: ResponseCreate) -> tuple[ChatRequest, Translation]:
    """Returns the chat request for a request of the Responses protocol, and the translation that renames errors.

    Raises:
        InvalidRequest: a format of type ``json_schema`` without a schema, or a choice that allows an unknown tool.
    """
    translation = _conversation(request)
    try:
        return _chat(request, translation), translation
    except ValidationError as error:
        raise translation.renamed(invalid_request(error.errors())) from error


def _chat(request: ResponseCreate, translation: Translation) -> ChatRequest:
    return ChatRequest(
        model=request.model,
        messages=translation.messages,
        tools=[_tool(tool) for tool in request.tools] or None,
        tool_choice=_choice(request.tool_choice),
        parallel_tool_calls=request.parallel_tool_calls,
        response_format=_format(request.text.format),
        max_completion_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        logprobs=LOGPROBS in request.include,
        top_logprobs=request.top_logprobs,
        stream=request.stream,
        user=request.user,
        subject=request.subject,
        flightloop=request.flightloop,
    )


def _conversation(request: ResponseCreate) -> Translation:
    found = Translation()
    if request.instructions:
        found.add(ChatMessage(role="system", content=[TextPart(text=request.instructions)]), Source("instructions"))
    for index, item in enumerate(request.input):
        place = f"input[{index}]"
        match item:
            case MessageItem():
                found.add(ChatMessage(role=item.role, content=_parts(item.content)), Source(place, "content"))
            case FunctionCallItem():
                _add_call(found, item, Source(place))
            case FunctionOutputItem():
                content = _parts(item.output)
                message = ChatMessage(role="tool", content=content, tool_call_id=item.call_id)
                found.add(message, Source(place, "output"))
    return found


def _add_call(found: Translation, item: FunctionCallItem, source: Source) -> None:
    """Adds a call to the last assistant message: a chat has the text and all calls of an answer in one message."""
    if not found.messages or found.messages[-1].role != "assistant":
        found.add(ChatMessage(role="assistant"), source)
    call = ToolCall(id=item.call_id, function=FunctionCall(name=item.name, arguments=item.arguments))
    found.messages[-1].tool_calls = [*(found.messages[-1].tool_calls or []), call]


def _parts(content: Sequence[ItemPart]) -> list[Part]:
    return [_part(part) for part in content]


def _part(part: ItemPart) -> Part:
    if isinstance(part, InputImage):
        return ImagePart(image_url=ImageUrl(url=part.image_url, detail=part.detail))
    return TextPart(text=part.refusal if isinstance(part, Refusal) else part.text)


def _tool(tool: FunctionTool) -> ToolDef:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = FunctionDef(
        name=tool.name, description=tool.description or "", parameters=parameters, strict=tool.strict
    )
    return ToolDef(function=function)


def _choice(
    chosen: Literal["none", "auto", "required"] | FunctionChoice | AllowedFunctions,
) -> ToolChoice:
    if isinstance(chosen, str):
        return chosen
    if isinstance(chosen, FunctionChoice):
        return _named(chosen)
    allowed = AllowedTools(mode=chosen.mode, tools=[_named(tool) for tool in chosen.tools])
    return AllowedToolsChoice(type="allowed_tools", allowed_tools=allowed)


def _named(chosen: FunctionChoice) -> NamedToolChoice:
    return NamedToolChoice(function=NamedFunction(name=chosen.name))


def _format(wanted: TextFormat) -> ResponseFormat | None:
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ResponseFormat(type="json_object")
    if wanted.schema_ is None:
        raise InvalidRequest("text.format.schema: is missing; type 'json_schema' needs it", param="text.format.schema")
    schema = JsonSchemaFormat(
        name=wanted.name or "answer", description=wanted.description, schema=wanted.schema_, strict=wanted.strict
    )
    return ResponseFormat(type="json_schema", json_schema=schema)
