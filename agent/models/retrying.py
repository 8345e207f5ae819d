"""A model that is asked again where another try can help. Nobody else below the API tries a model call twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from agent.models.chat_model import Capabilities, ChatModel
from flightloop.chat import ChatChunk, ChatRequest, ModelCard
from flightloop.errors import FlightloopError, Overloaded

_SHORTEST_QUEUE_S, _LONGEST_WAIT_S = 0.5, 30.0


@dataclass(frozen=True)
class Retries:
    """How often a model call is tried that fails before its first token.

    Args:
        tries: of errors that another try can help.
        first_wait_s: before the second try, at most, twice as long each time; drawn at random, so that many callers do
            not come back at once. A server that says when to come back is obeyed, up to half a minute.
        queues: a full queue is no failure: the call waits for a place as long as its caller does.
    """

    tries: int = 5
    first_wait_s: float = 0.2
    queues: bool = False


RUNS = Retries(queues=True)
"""A run's budget of seconds ends its waiting."""
COMPLETIONS = Retries()
"""Clients are told of a full queue (429) and come back by themselves."""


class RetryingChatModel:
    """``ChatModel`` around another one."""

    def __init__(
        self, model: ChatModel, retries: Retries, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._model = model
        self._retries = retries
        self._sleep = sleep

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        tried = 0
        while True:
            begun = False
            try:
                async with aclosing(self._model.stream(request)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        begun = begun or any(
                            choice.delta.content or choice.delta.tool_calls for choice in chunk.choices
                        )
                        yield chunk
                return
            except FlightloopError as error:
                tried += not (self._retries.queues and isinstance(error, Overloaded))
                if begun or not self._helps(error, tried):
                    raise
                await self._sleep(self._wait(error, tried))

    async def models(self) -> list[ModelCard]:
        return await self._model.models()

    def _helps(self, error: FlightloopError, tried: int) -> bool:
        if isinstance(error, Overloaded):
            return self._retries.queues
        return error.retryable and tried < self._retries.tries

    def _wait(self, error: FlightloopError, tried: int) -> float:
        """Seconds."""
        if isinstance(error, Overloaded):
            return min(max(error.retry_after or 0.0, _SHORTEST_QUEUE_S), _LONGEST_WAIT_S)
        if error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT_S)
        return random.uniform(0, self._retries.first_wait_s * 2 ** (tried - 1))
