"""Retries model calls. No other layer below the API retries them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from agent.models.chat_model import Capabilities, ChatModel
from flightloop.answer import is_part
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import FlightloopError, Overloaded
from flightloop.model_card import ModelCard

_SHORTEST_QUEUE_S, _LONGEST_WAIT_S = 0.5, 30.0


@dataclass(frozen=True)
class Retries:
    """Retry policy for model calls that fail before their first token.

    Args:
        tries: maximum number of attempts on retryable errors.
        first_wait_s: upper bound in seconds of the random wait before the second attempt, doubled for each further
            one. A server's Retry-After takes precedence, up to half a minute.
        queues: whether to retry without limit while the server's queue is full.
    """

    tries: int = 5
    first_wait_s: float = 0.2
    queues: bool = False


RUNS = Retries(queues=True)
"""Policy for runs. Their budget of seconds limits the wait."""
COMPLETIONS = Retries()
"""Policy for completions: clients get a 429 for a full queue and retry themselves."""


class RetryingChatModel:
    """Wraps a ``ChatModel`` with retries."""

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
                        begun = begun or is_part(chunk)
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
        """Seconds until the next attempt."""
        if isinstance(error, Overloaded):
            return min(max(error.retry_after or 0.0, _SHORTEST_QUEUE_S), _LONGEST_WAIT_S)
        if error.retry_after is not None:
            return min(error.retry_after, _LONGEST_WAIT_S)
        return random.uniform(0, self._retries.first_wait_s * 2 ** (tried - 1))
