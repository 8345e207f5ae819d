"""A model that a run waits for: a full queue is no fault of the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from agent.chat_model import Capabilities, ChatModel
from flightloop.chat import ChatChunk, ChatCompletion, ChatRequest, ModelCard
from flightloop.errors import Overloaded

_SHORTEST_S, _LONGEST_S = 0.5, 30.0


class PatientChatModel:
    """``ChatModel`` around another one that asks again when the queue is full, as long as its caller waits.

    Runs have budgets of seconds that end the waiting; clients of the API are told 429 instead, and don't get this one.
    """

    def __init__(self, model: ChatModel, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._model = model
        self._sleep = sleep

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        while True:
            begun = False
            try:
                async with aclosing(self._model.stream(request)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                return
            except Overloaded as error:
                if begun:
                    raise
                await self._wait(error)

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        while True:
            try:
                return await self._model.complete(request)
            except Overloaded as error:
                await self._wait(error)

    async def models(self) -> list[ModelCard]:
        return await self._model.models()

    async def _wait(self, error: Overloaded) -> None:
        await self._sleep(min(max(error.retry_after or 0.0, _SHORTEST_S), _LONGEST_S))
