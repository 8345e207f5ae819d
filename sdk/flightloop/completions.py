"""``client.chat.completions`` and ``client.responses``: OpenAI's two protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, Literal, TypedDict, Unpack, cast, overload

from flightloop.call import Call, parsed_by, refused_here
from flightloop.chat import (
    ChatChunk,
    ChatCompletion,
    ChatCreate,
    ChatMessage,
    NamedToolChoice,
    ResponseFormat,
    ToolDef,
)
from flightloop.feeds import ChatFeed, ResponseFeed
from flightloop.resource import Resource, X
from flightloop.response_events import ResponseEvent
from flightloop.responses import (
    FunctionChoice,
    FunctionTool,
    InputItem,
    OutputCall,
    OutputMessage,
    ResponseCreate,
    ResponseObject,
    TextConfig,
)
from flightloop.subject import Subject
from flightloop.transport import AsyncTransport, SyncTransport


class ChatOptions(TypedDict, total=False):
    """Optional fields of the request; see ``flightloop.chat.ChatCreate``."""

    tools: list[ToolDef] | list[dict[str, Any]]
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | dict[str, Any]
    parallel_tool_calls: bool
    response_format: ResponseFormat | dict[str, Any]
    max_tokens: int
    max_completion_tokens: int
    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    n: int
    stop: str | list[str]
    logprobs: bool
    top_logprobs: int
    stream_options: dict[str, Any]
    user: str
    subject: str | Subject | dict[str, Any]


Messages = list[ChatMessage] | list[dict[str, Any]]


class Completions(Resource[X]):
    @overload
    def create(
        self: Completions[SyncTransport],
        *,
        model: str,
        messages: Messages,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...
    @overload
    def create(
        self: Completions[SyncTransport],
        *,
        model: str,
        messages: Messages,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> Iterator[ChatChunk]: ...
    @overload
    def create(
        self: Completions[AsyncTransport],
        *,
        model: str,
        messages: Messages,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> Awaitable[ChatCompletion]: ...
    @overload
    def create(
        self: Completions[AsyncTransport],
        *,
        model: str,
        messages: Messages,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncIterator[ChatChunk]: ...
    def create(self, *, model: str, messages: Messages, stream: bool = False, **options: Unpack[ChatOptions]) -> Any:
        """Creates one answer, whole or as chunks. In async code, await the whole answer and iterate over chunks.

        Raises:
            InvalidRequest: the request exceeds the protocol's limits.
        """
        fields = {"model": model, "messages": messages, "stream": stream, **options}
        with refused_here():
            request = ChatCreate.model_validate(fields)
        transport = cast(Any, self._transport)
        if stream:
            return transport.stream(ChatFeed(request))
        parse = parsed_by(ChatCompletion)
        return transport.execute(Call("POST", "/v1/chat/completions", parse, body=request, idempotent=False))


class Chat(Resource[X]):
    @property
    def completions(self) -> Completions[X]:
        return Completions(self._transport)


class ResponseOptions(TypedDict, total=False):
    """Optional fields of the request; see ``flightloop.responses.ResponseCreate``."""

    instructions: str
    tools: list[FunctionTool] | list[dict[str, Any]]
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | dict[str, Any]
    parallel_tool_calls: bool
    text: TextConfig | dict[str, Any]
    max_output_tokens: int
    temperature: float
    top_p: float
    include: list[str]
    top_logprobs: int
    metadata: dict[str, str]
    user: str
    subject: str | Subject | dict[str, Any]


Input = str | Sequence[InputItem | OutputMessage | OutputCall | dict[str, Any]]


class Responses(Resource[X]):
    @overload
    def create(
        self: Responses[SyncTransport],
        *,
        model: str,
        input: Input,
        stream: Literal[False] = False,
        **options: Unpack[ResponseOptions],
    ) -> ResponseObject: ...
    @overload
    def create(
        self: Responses[SyncTransport],
        *,
        model: str,
        input: Input,
        stream: Literal[True],
        **options: Unpack[ResponseOptions],
    ) -> Iterator[ResponseEvent]: ...
    @overload
    def create(
        self: Responses[AsyncTransport],
        *,
        model: str,
        input: Input,
        stream: Literal[False] = False,
        **options: Unpack[ResponseOptions],
    ) -> Awaitable[ResponseObject]: ...
    @overload
    def create(
        self: Responses[AsyncTransport],
        *,
        model: str,
        input: Input,
        stream: Literal[True],
        **options: Unpack[ResponseOptions],
    ) -> AsyncIterator[ResponseEvent]: ...
    def create(self, *, model: str, input: Input, stream: bool = False, **options: Unpack[ResponseOptions]) -> Any:
        """Creates one response, whole or as events. In async code, await the whole response and iterate over events.

        Nothing is stored: continue a conversation with ``input=[*input, *response.output, …]``.

        Raises:
            InvalidRequest: the request exceeds the protocol's limits, or uses an unsupported feature.
        """
        asked = input if isinstance(input, str) else list(input)
        with refused_here():
            request = ResponseCreate.model_validate({"model": model, "input": asked, "stream": stream, **options})
        transport = cast(Any, self._transport)
        if stream:
            return transport.stream(ResponseFeed(request))
        parse = parsed_by(ResponseObject)
        return transport.execute(Call("POST", "/v1/responses", parse, body=request, idempotent=False))
