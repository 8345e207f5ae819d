"""Chat model port: OpenAI requests and chunks, and the capabilities of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from flightloop.chat import ChatChunk, ChatRequest
from flightloop.model_card import ModelCard

IMAGES = "image_url"
"""Part type of images, as in OpenAI's API."""


@dataclass(frozen=True)
class Capabilities:
    """Optional features of a model server. The agent loop also works without them."""

    tools: bool = True
    json_schema: bool = True
    """Whether ``response_format: json_schema`` constrains decoding; otherwise the schema is only a hint."""
    logprobs: bool = False
    """Whether log-probabilities are available. Runs request them, because the confidence is computed from them."""
    interrupts: bool = False
    """Whether the server itself checks for interrupts (emergency stops), once per token."""
    parts: frozenset[str] = frozenset({"text"})
    """Content part types that the model accepts."""
    reads_plans: bool = True
    """Whether its prompts show the plan of a run. If not, runs are planned only if their policy locks to the plan."""
    context_length: int | None = None
    """Context length in tokens; None: the server does not report it."""

    @property
    def sees(self) -> bool:
        """Whether the model accepts images."""
        return IMAGES in self.parts


class ChatModel(Protocol):
    """A model behind OpenAI's chat protocol.

    Raises errors of ``flightloop.errors``: ContextTooLong, UnsupportedContent, Overloaded, Interrupted,
    ModelUnavailable, NotFound (unknown model name).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Chunks of the answer; the last one has ``finish_reason`` and usage. Closing the iterator cancels the
        request on the server."""
        ...

    async def models(self) -> list[ModelCard]: ...
