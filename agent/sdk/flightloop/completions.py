"""``client.chat.completions``: OpenAI's chat protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Literal, TypedDict, Unpack, cast, overload

from flightloop.call import Call, parsed_by
from flightloop.chat import (
    ChatChunk,
    ChatCompletion,
    ChatMessage,
    ChatRequest,
    NamedToolChoice,
    ResponseFormat,
    ToolDef,
)
from flightloop.feeds import ChatFeed
from flightloop.resource import Resource, X
from flightloop.transport import AsyncTransport, SyncTransport


class ChatOptions(TypedDict, total=False):
    """Optional fields of the request; see ``flightloop.chat.ChatRequest``."""

    tools: list[ToolDef] | list[dict[str, Any]]
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | dict[str, Any]
    parallel_tool_calls: bool
    response_format: ResponseFormat | dict[str, Any]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: str | list[str]
    logprobs: bool
    top_logprobs: int
    stream_options: dict[str, Any]
    user: str


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
        """One answer, whole or as chunks. Async, the whole one is awaited and the chunks iterated.

        Raises:
            pydantic.ValidationError: the request breaks the protocol's limits.
        """
        fields = {"model": model, "messages": messages, "stream": stream, **options}
        request = ChatRequest.model_validate(fields)
        transport = cast(Any, self._transport)
        if stream:
            return transport.stream(ChatFeed(request))
        parse = parsed_by(ChatCompletion)
        return transport.execute(Call("POST", "/v1/chat/completions", parse, body=request, idempotent=False))


class Chat(Resource[X]):
    @property
    def completions(self) -> Completions[X]:
        return Completions(self._transport)
