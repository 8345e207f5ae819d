"""Metrics for remote models. The built-in engine records its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from agent.models.chat_model import Capabilities, ChatModel
from flightloop.answer import is_part
from flightloop.chat import ChatChunk, ChatRequest, Usage
from flightloop.model_card import ModelCard
from observability import catalog
from observability.metrics import Metrics


class MeasuredChatModel:
    """Wraps a ``ChatModel`` and records metrics labelled ``name``, because model names in requests are untrusted."""

    def __init__(
        self, model: ChatModel, metrics: Metrics, name: str, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._model = model
        self._metrics = metrics
        self._name = name
        self._clock = clock
        self._running = 0

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        began, first, tokens = self._clock(), None, 0
        outcome, usage = "cancelled", None
        stream = self._model.stream(request)
        self._run(+1)
        try:
            async for chunk in stream:
                told = is_part(chunk)
                if told and first is None:
                    first = self._clock()
                    self._metrics.observe(catalog.MODEL_TTFT_SECONDS, first - began, model=self._name)
                tokens += told
                usage = chunk.usage or usage
                outcome = next((choice.finish_reason for choice in chunk.choices if choice.finish_reason), outcome)
                yield chunk
        except Exception:
            outcome = "error"
            raise
        finally:
            self._run(-1)
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
            self._ended(began, outcome, usage)
            if first is not None and tokens > 1 and outcome not in ("cancelled", "error"):
                count = usage.completion_tokens if usage and usage.completion_tokens > 1 else tokens
                spent = (self._clock() - first) / (count - 1)
                self._metrics.observe(catalog.MODEL_TPOT_SECONDS, spent, model=self._name)

    async def models(self) -> list[ModelCard]:
        return await self._model.models()

    def _run(self, change: int) -> None:
        self._running += change
        self._metrics.set(catalog.MODEL_RUNNING, self._running, model=self._name)

    def _ended(self, began: float, outcome: str, usage: Usage | None) -> None:
        self._metrics.inc(catalog.MODEL_REQUESTS, model=self._name, outcome=outcome)
        self._metrics.observe(catalog.MODEL_REQUEST_SECONDS, self._clock() - began, model=self._name)
        if usage is None:
            return
        for kind, count in (
            ("prompt", usage.prompt_tokens),
            ("completion", usage.completion_tokens),
            ("cached", usage.prompt_tokens_details.cached_tokens),
        ):
            self._metrics.inc(catalog.MODEL_TOKENS, count, model=self._name, kind=kind)
