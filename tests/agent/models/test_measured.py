from __future__ import annotations

from typing import Any

import pytest

from agent.models.measured import MeasuredChatModel
from agent.testing.api import Said, ScriptedChat
from flightloop.chat import ChatRequest
from flightloop.errors import ModelUnavailable
from observability import catalog
from observability.metrics import Metrics
from observability.values import Values

REQUEST = ChatRequest.model_validate({"model": "stranger", "messages": [{"role": "user", "content": "x"}]})


def measured(*answers: Said) -> tuple[Any, Metrics]:
    metrics, ticks = Metrics(), iter(range(100))
    return MeasuredChatModel(ScriptedChat(list(answers)), metrics, "m", lambda: next(ticks)), metrics


async def test_a_whole_answer() -> None:
    model, metrics = measured(Said("a b c"))
    assert len([chunk async for chunk in model.stream(REQUEST)]) == 4
    values = Values(metrics.snapshot().series)
    assert values.by(catalog.MODEL_TOKENS, "kind") == {"prompt": 3, "completion": 2, "cached": 0}
    assert values.by(catalog.MODEL_REQUESTS, "outcome") == {"stop": 1}
    assert values.by(catalog.MODEL_REQUESTS, "model") == {"m": 1}
    assert values.mean(catalog.MODEL_TTFT_SECONDS) == 1  # the clock ticks once between the beginning and the token
    assert values.value(catalog.MODEL_RUNNING) == 0
    assert values.histogram(catalog.MODEL_TPOT_SECONDS) is not None


async def test_an_answer_that_is_not_wanted_any_more_and_one_that_fails() -> None:
    model, metrics = measured(Said("a b c"), Said("a", error=ModelUnavailable("gone")))
    stream = model.stream(REQUEST)
    await anext(stream)
    assert Values(metrics.snapshot().series).value(catalog.MODEL_RUNNING) == 1
    await stream.aclose()
    with pytest.raises(ModelUnavailable):
        _ = [chunk async for chunk in model.stream(REQUEST)]
    values = Values(metrics.snapshot().series)
    assert values.by(catalog.MODEL_REQUESTS, "outcome") == {"cancelled": 1, "error": 1}
    assert values.value(catalog.MODEL_RUNNING) == 0
