from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.answer import Answer, completed
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.errors import (
    ContextTooLong,
    InternalError,
    Interrupted,
    InvalidRequest,
    ModelUnavailable,
    NotFound,
    Overloaded,
)
from model.chat.compact import call_text
from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import BreakingRunner, ManualStop
from model.engine.kv_cache import KVCache
from model.engine.runner import LocalRunner
from model.serve.openai_calls import CallReader
from model.serve.server import ChatServer
from model.weights.tiny import TINY, tiny_model
from observability.metrics import Metrics

CONFIG = ModelConfig(slots=4, block_size=8, kv_blocks=256, max_context=512)
NAME = "served"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string", "maxLength": 12}, "count": {"type": "integer"}},
                "required": ["text", "count"],
            },
        },
    }
    for name in ("find", "send")
]


class Setup:
    """A server on a tiny model, with its emergency stop and a runner that can break."""

    def __init__(self, queue: int = 64, slots: int = 4, interval_s: float = 0.0) -> None:
        loaded = tiny_model(shape=replace(TINY, tied=False))
        cache = KVCache(TINY.layers, 256, CONFIG.block_size, TINY.kv_heads, TINY.head_width, loaded.decoder.dtype)
        self.runner = BreakingRunner(LocalRunner(loaded.decoder, cache))
        self.stop = ManualStop()
        self.engine = Engine(
            loaded, replace(CONFIG, queue=queue, slots=slots), self.stop, Metrics(), runner=self.runner
        )
        self.server = ChatServer(self.engine, loaded, NAME, interval_s=interval_s)


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    made.server.start()
    yield made
    made.server.close()


def request(text: str = "Hello", **options: Any) -> ChatRequest:
    return ChatRequest(model=NAME, messages=[{"role": "user", "content": text}], **{"max_tokens": 24, **options})


async def chunks_of(setup: Setup, request: ChatRequest) -> list[ChatChunk]:
    return [chunk async for chunk in setup.server.stream(request)]


async def test_deltas_add_up_to_the_completion(setup: Setup) -> None:
    asked = request(temperature=0, logprobs=True, top_logprobs=2)
    chunks = await chunks_of(setup, asked)
    whole = await completed(setup.server.stream(asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert last.usage is not None
    assert last.usage.completion_tokens == 24
    assert last.usage.total_tokens == last.usage.prompt_tokens + 24
    assert last.flightloop is not None
    assert 0 < (last.flightloop.confidence or 0) < 1
    assert last.flightloop.ttft_seconds is not None
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.content) == 24
    for token in logprobs.content:
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob, abs=1e-4), "greedy takes the top"
        assert len(token.top_logprobs) == 2
    assert (
        b"".join(bytes(token.bytes or []) for token in logprobs.content)
        .decode(errors="replace")
        .startswith(whole.choices[0].message.content or "?")
    )


@pytest.mark.parametrize("seed", range(4))
async def test_tool_calls_stream_name_first_then_arguments(setup: Setup, seed: int) -> None:
    asked = request(tools=TOOLS, tool_choice="required", seed=seed, max_tokens=400)
    chunks = await chunks_of(setup, asked)
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    seen: dict[int, str] = {}
    for delta in deltas:
        if delta.index not in seen:
            assert delta.index == len(seen)
            assert delta.id
            assert delta.type == "function"
            assert delta.function.name in ("find", "send")
            seen[delta.index] = ""
        else:
            assert delta.id is None
            assert delta.function.name is None
        seen[delta.index] += delta.function.arguments or ""
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    for arguments in seen.values():
        assert set(json.loads(arguments)) == {"text", "count"}
    assert len(deltas) > 2 * len(seen), "arguments come in pieces"
    whole = await completed(setup.server.stream(asked))
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.arguments for call in calls] == list(seen.values())
    assert whole.choices[0].message.content is None


async def test_an_unfinished_call_is_not_reported_as_one(setup: Setup) -> None:
    whole = await completed(setup.server.stream(request(tools=TOOLS, tool_choice="required", seed=0, max_tokens=20)))
    assert whole.choices[0].finish_reason == "length"


async def test_json_is_json(setup: Setup) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    whole = await completed(setup.server.stream(request(response_format=form)))
    assert json.loads(whole.choices[0].message.content or "")["a"] in ("x", "y")
    assert whole.choices[0].finish_reason == "stop"


async def test_many_at_once_get_what_each_gets_alone(setup: Setup) -> None:
    asked = [request(f"Number {n}", seed=n, temperature=1.0, max_tokens=10 + n) for n in range(9)]
    together = await asyncio.gather(*(completed(setup.server.stream(one)) for one in asked))
    for one, each in zip(asked, together, strict=True):
        alone = await completed(setup.server.stream(one))
        assert alone.choices[0].message == each.choices[0].message


async def test_leaving_a_stream_frees_its_blocks(setup: Setup) -> None:
    async with aclosing(setup.server.stream(request(max_tokens=400))) as stream:
        await anext(stream)
        assert setup.server.load().running == 1
    await completed(setup.server.stream(request(max_tokens=1)))  # served after the cancellation
    load = setup.engine.load()
    assert (load.running, load.kv_used_ratio) == (0, 0)


async def test_a_stop_ends_open_streams_and_refuses_new_ones(setup: Setup) -> None:
    chunks = []
    async for chunk in setup.server.stream(request(max_tokens=400)):
        chunks.append(chunk)
        setup.stop.pull()
    assert chunks[-1].flightloop is not None
    assert chunks[-1].flightloop.interrupted
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens < 400
    with pytest.raises(Interrupted):
        await completed(setup.server.stream(request()))
    setup.stop.clear()
    assert (await completed(setup.server.stream(request()))).usage.completion_tokens == 24


async def test_a_failure_reaches_every_stream_and_health(setup: Setup) -> None:
    assert setup.server.health()
    streams = [setup.server.stream(request(f"{n}", max_tokens=400)) for n in range(6)]  # two of them wait
    await anext(streams[0])
    rest = [asyncio.ensure_future(anext(stream)) for stream in streams[1:]]
    await rest[0]
    setup.runner.broken = True
    for stream in streams[:2]:
        with pytest.raises(InternalError, match="the shard is gone"):
            async for _ in stream:
                pass
    assert any(isinstance(each, InternalError) for each in await asyncio.gather(*rest[3:], return_exceptions=True))
    assert not setup.server.health()
    with pytest.raises(InternalError, match="the shard is gone"):
        await completed(setup.server.stream(request()))


async def test_a_full_queue_says_when_to_come_back() -> None:
    made = Setup(queue=1)
    made.server.start()
    try:
        asked = [completed(made.server.stream(request(f"{n}", max_tokens=40))) for n in range(40)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [each for each in answers if isinstance(each, Overloaded)]
        assert refused
        assert all(each.retry_after for each in refused)
        assert len(refused) < len(answers)
    finally:
        made.server.close()


async def test_priorities_go_first_through_the_server() -> None:
    made = Setup(slots=1)
    made.server.start()
    ended: list[str] = []

    async def ask(priority: str, index: int) -> None:
        extension = {"priority": priority}
        await completed(made.server.stream(request(f"{priority} {index}", max_tokens=30, flightloop=extension)))
        ended.append(priority)

    try:
        # Greedily: drawn from random weights, an end token comes once in a while.
        runs = request("the one that runs", max_tokens=300, temperature=0, flightloop={"priority": "batch"})
        long = made.server.stream(runs)
        await anext(long)
        names = ["batch", "interactive", "batch", "interactive", "operator"]
        await asyncio.gather(*(ask(name, index) for index, name in enumerate(names)))
        assert len(ended) == 5
        assert ended.index("operator") < ended.index("batch"), "though it came last"
        assert ended[-2:] == ["batch", "batch"]
        assert [chunk async for chunk in long][-1].usage.completion_tokens == 300, "it was put off, not dropped"  # type: ignore[union-attr]
    finally:
        made.server.close()


async def test_leaving_while_waiting_leaves_nothing(setup: Setup) -> None:
    running = [setup.server.stream(request(f"{n}", max_tokens=300)) for n in range(4)]
    for stream in running:
        await anext(stream)
    waiting = [asyncio.ensure_future(completed(setup.server.stream(request(f"w{n}")))) for n in range(3)]
    while setup.server.load().waiting < 3:
        await anext(running[0])
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for stream in running:
        await stream.aclose()
    assert (await completed(setup.server.stream(request(max_tokens=1)))).usage.completion_tokens == 1
    setup.engine.check_integrity()
    assert (setup.engine.load().running, setup.engine.load().waiting, setup.engine.load().kv_used_ratio) == (0, 0, 0)


async def test_closing_ends_open_streams(setup: Setup) -> None:
    stream = setup.server.stream(request(max_tokens=400))
    await anext(stream)
    await asyncio.to_thread(setup.server.close)
    with pytest.raises(ModelUnavailable, match="is shutting down"):
        async for _ in stream:
            pass
    assert not setup.server.health()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "other"}, NotFound, "'other'.*known: served"),
        ({"messages": [{"role": "user", "content": "word " * 600}]}, ContextTooLong, "context length is 512"),
        ({"stop": [""]}, InvalidRequest, "stop"),
        ({"tool_choice": "required"}, InvalidRequest, "tool_choice"),
    ],
)
async def test_what_the_client_has_to_change(
    setup: Setup, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    asked = ChatRequest.model_validate({**request().model_dump(by_alias=True), **options})
    with pytest.raises(kind, match=message):
        await completed(setup.server.stream(asked))


async def test_the_model_card(setup: Setup) -> None:
    (card,) = setup.server.models()
    assert 0 <= time.time() - card.created < 600
    assert card.id == NAME
    assert card.context_length == 512
    assert 0 < (card.active_parameters or 0) < (card.parameters or 0)
    assert card.parts == ["text", "table"]


VALUES = st.recursive(
    st.text(max_size=5)
    | st.integers()
    | st.booleans()
    | st.none()
    | st.sampled_from(['"}]', "\\", '{"', "</tool_call>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(["find", "send.to"]), st.dictionaries(st.text(max_size=3), VALUES, max_size=3)),
    min_size=1,
    max_size=4,
)


@given(CALLS, st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_calls_are_read_however_the_text_is_cut(calls: list[tuple[str, dict[str, Any]]], cuts: list[int]) -> None:
    text, reader, deltas = call_text(calls), CallReader(), []
    while text:
        assert not reader.complete
        size = cuts[len(text) % len(cuts)]
        plain, found = reader.push(text[:size])
        assert plain == ""
        deltas += found
        text = text[size:]
    assert reader.complete
    assert reader.finish() == ""
    names = [delta.function.name for delta in deltas if delta.id]
    arguments = ["".join(d.function.arguments or "" for d in deltas if d.index == n) for n in range(len(calls))]
    assert [(name, json.loads(each)) for name, each in zip(names, arguments, strict=True)] == calls


@given(st.lists(st.sampled_from(["<", "<tool", "<tool_call", "tool", ">", " x", "\n"]), max_size=6))
def test_text_comes_through_whole(pieces: list[str]) -> None:
    reader = CallReader()
    text = "".join(reader.push(piece)[0] for piece in pieces) + reader.finish()
    if not "".join(pieces).lstrip().startswith("<tool_call>"):
        assert text == "".join(pieces)
    assert not reader.complete


@pytest.mark.parametrize("text", ["<tool_call>", '<tool_call>[{"name": find}]</tool_call>', "<tool_call> no"])
def test_without_a_grammar_what_is_no_call_is_text(text: str) -> None:
    reader = CallReader(held=False)
    assert "".join(reader.push(sign)[0] for sign in text) + reader.finish() == text
    assert not reader.complete


async def test_tools_that_are_not_strict_get_text_or_calls(setup: Setup) -> None:
    loose = [{**tool, "function": {**tool["function"], "strict": False}} for tool in TOOLS]
    asked = request(tools=loose, temperature=0)
    assert (await completed(setup.server.stream(asked))).choices[0].finish_reason == "length"


def test_chunks_that_break_off_are_no_completion() -> None:
    with pytest.raises(ModelUnavailable, match="was interrupted"):
        Answer().completion()
