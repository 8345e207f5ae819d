"""What a server does where the request leaves it open: how much leaves at once, and how tokens are drawn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from flightloop.answer import completed
from flightloop.errors import InternalError
from model.engine.request import EngineOutput, SampledToken
from model.serve.server import CHUNK_TOKENS, _Stream
from tests.model.test_server import TOOLS, Setup, request, setup

__all__ = ["setup"]


async def test_what_gathers_while_the_reader_is_busy_leaves_as_one_chunk(setup: Setup) -> None:
    asked = request(temperature=0, logprobs=True)
    chunks = setup.server.stream(asked)
    first = await anext(chunks)
    begun = len(first.choices[0].logprobs.content)  # type: ignore[union-attr]
    assert begun < 24, "what there is leaves at once"
    await asyncio.to_thread(_at_rest, setup)
    text, end = [chunk async for chunk in chunks]
    assert len(text.choices[0].logprobs.content) == 24 - begun  # type: ignore[union-attr]
    said = (first.choices[0].delta.content or "") + (text.choices[0].delta.content or "")
    assert said == (await completed(setup.server.stream(asked))).choices[0].message.content
    assert end.choices[0].finish_reason == "length"


@pytest.fixture
async def patient() -> AsyncIterator[Setup]:
    """A server whose tokens gather for an hour."""
    made = Setup(interval_s=3600.0)
    made.server.start()
    yield made
    made.server.close()


async def test_tokens_gather_behind_the_first_and_the_end_waits_for_nothing(patient: Setup, setup: Setup) -> None:
    asked = request(temperature=0, logprobs=True)
    *parts, end = [chunk async for chunk in patient.server.stream(asked)]
    counts = [len(chunk.choices[0].logprobs.content) for chunk in parts]  # type: ignore[union-attr]
    assert sum(counts) == 24
    assert all(count >= CHUNK_TOKENS for count in counts[1:-1])
    assert end.choices[0].finish_reason == "length"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in parts)
    assert said == (await completed(setup.server.stream(asked))).choices[0].message.content


def stream(interval_s: float) -> _Stream:
    loop = asyncio.get_running_loop()
    return _Stream(cast("Any", None), loop, interval_s)


def output(text: str, **fields: Any) -> EngineOutput:
    return EngineOutput("one", (SampledToken(1, -1.0, 0.0),), text, **fields)


async def test_the_first_token_leaves_at_once() -> None:
    one = stream(3600.0)
    one.send(output("a"))
    assert (await one.next()).text == "a"


async def test_few_tokens_leave_at_the_intervals_end() -> None:
    one = stream(0.01)
    one.send(output("a"))
    await one.next()
    one.send(output("b"))
    one.send(output("c"))
    assert (await one.next()).text == "bc"


async def test_what_has_gathered_before_a_stop_does_not_go_out() -> None:
    one = stream(3600.0)
    one.send(output("a"))
    await one.next()
    one.send(output("b"))
    one.send(EngineOutput("one", finish="stop", interrupted=True))
    assert (await one.next()).text == ""


async def test_what_has_gathered_before_a_failure_goes_out() -> None:
    one = stream(3600.0)
    one.send(output("a"))
    await one.next()
    one.send(output("b"))
    one.send(InternalError("the shard is gone"))
    assert (await one.next()).text == "b"
    with pytest.raises(InternalError, match="the shard is gone"):
        await one.next()


def _at_rest(setup: Setup) -> None:
    while setup.server.load().running:
        time.sleep(0.001)


@pytest.mark.parametrize("seed", range(8))
async def test_without_a_temperature_calls_are_made_as_at_zero(setup: Setup, seed: int) -> None:
    """Whether and how; words are drawn at the usual temperature."""
    fields: dict[str, Any] = {
        "tools": TOOLS,
        "tool_choice": "required",
        "max_tokens": 120,
        "parallel_tool_calls": False,
    }
    greedy = await completed(setup.server.stream(request(f"Find {seed}", temperature=0, **fields)))
    usual = await completed(setup.server.stream(request(f"Find {seed}", seed=seed, **fields)))
    warm = [
        (await completed(setup.server.stream(request(f"Find {seed}", temperature=1, seed=each, **fields)))).choices[0]
        for each in range(3)
    ]

    def made(choice: Any) -> list[tuple[str, str]]:
        return [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]

    assert made(usual.choices[0]) == made(greedy.choices[0])
    assert any(made(choice) != made(greedy.choices[0]) for choice in warm)


async def test_without_a_temperature_words_differ(setup: Setup) -> None:
    fields: dict[str, Any] = {"tools": TOOLS, "tool_choice": "none"}
    said = {
        (await completed(setup.server.stream(request(seed=seed, **fields)))).choices[0].message.content
        for seed in range(4)
    }
    assert len(said) > 1
