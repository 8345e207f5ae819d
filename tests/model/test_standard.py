"""The embedded model ``standard`` itself, where its file is at hand: ``python -m model.weights standard`` gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flightloop.answer import completed
from flightloop.chat import ChatRequest
from model.config import STANDARD, ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.serve.server import ChatServer
from model.weights.load import load_model
from model.weights.sources import CACHE, SOURCES
from observability.metrics import Metrics

FILE = CACHE.expanduser() / SOURCES[STANDARD].file

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(not FILE.is_file(), reason="not downloaded: python -m model.weights standard"),
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    config = ModelConfig(STANDARD, slots=1)
    loaded = load_model(config)
    made = ChatServer(Engine(loaded, config, ManualStop(), Metrics()), loaded, STANDARD)
    made.start()
    yield made
    made.close()


async def answer(server: ChatServer, text: str, **options: Any) -> Any:
    asked = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 64, **options}
    return (await completed(server.stream(ChatRequest(model=STANDARD, **asked)))).choices[0].message


def test_the_card_says_what_serves(server: ChatServer) -> None:
    [card] = server.models()
    assert card.parameters is not None
    assert card.active_parameters is not None
    assert 494e6 < card.active_parameters < card.parameters < 530e6
    assert card.weights is not None


async def test_it_answers(server: ChatServer) -> None:
    assert "Paris" in (await answer(server, "What is the capital of France?")).content
    assert "北京" in (await answer(server, "中国的首都是哪里？")).content


async def test_it_calls_a_tool(server: ChatServer) -> None:
    message = await answer(server, "What is the weather in Oslo?", tools=[WEATHER], tool_choice="required")
    [call] = message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
