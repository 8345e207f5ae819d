"""The model as the agent sees it: OpenAI's requests and chunks, and what the server can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from flightloop.chat import ChatChunk, ChatRequest, ModelCard


@dataclass(frozen=True)
class Capabilities:
    """What a model server honours; the loop does without what it lacks.

    ``context_length`` is in tokens, None where the server does not tell.
    """

    tools: bool = True
    json_schema: bool = True
    """``response_format: json_schema`` constrains decoding; otherwise the schema is only a request."""
    logprobs: bool = False
    """Asked for in runs, since the confidence is known from them alone."""
    interrupts: bool = False
    """The server polls the interrupt epoch itself, once per token."""
    parts: frozenset[str] = frozenset({"text"})
    context_length: int | None = None


class ChatModel(Protocol):
    """A model behind OpenAI's chat protocol.

    Errors are those of ``flightloop.errors``: ContextTooLong, UnsupportedContent, Overloaded,
    Interrupted, ModelUnavailable, NotFound (an unknown model's name).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """The answer as chunks; the last one carries ``finish_reason`` and usage. Closing the
        iterator cancels the request on the server."""
        ...

    async def models(self) -> list[ModelCard]: ...
