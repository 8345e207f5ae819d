"""An answer out of its chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from flightloop.answer import Answer, completed
from flightloop.chat import ChatChunk
from flightloop.errors import ModelUnavailable


def chunk(delta: dict[str, Any] | None = None, **fields: Any) -> ChatChunk:
    choice = {"delta": delta or {}, "finish_reason": fields.pop("finish_reason", None)}
    return ChatChunk.model_validate({"id": "c1", "created": 7, "model": "m", "choices": [choice], **fields})


def call(index: int, arguments: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": index, **fields, "function": {"name": name, "arguments": arguments}}


async def streamed(*chunks: ChatChunk) -> AsyncIterator[ChatChunk]:
    for each in chunks:
        yield each


async def test_text_calls_usage_and_extension_become_one_completion() -> None:
    made = await completed(
        streamed(
            chunk({"role": "assistant", "content": "Let me "}),
            chunk({"content": "look."}),
            chunk({"tool_calls": [call(0, '{"a":', id="x", name="f")]}),
            chunk({"tool_calls": [call(0, "1}"), call(1, "{}", id="y", name="g")]}),
            chunk(finish_reason="tool_calls", flightloop={"confidence": 0.5}),
            ChatChunk.model_validate({"id": "c1", "created": 7, "model": "m", "usage": {"completion_tokens": 4}}),
        )
    )
    (choice,) = made.choices
    assert (made.id, made.created, made.model, made.usage.completion_tokens) == ("c1", 7, "m", 4)
    assert (choice.message.content, choice.finish_reason) == ("Let me look.", "tool_calls")
    assert made.flightloop is not None
    assert made.flightloop.confidence == 0.5
    calls = [(each.id, each.function.name, each.function.arguments) for each in choice.message.tool_calls or []]
    assert calls == [("x", "f", '{"a":1}'), ("y", "g", "{}")]


def test_each_chunk_tells_the_text_that_it_brought() -> None:
    answer = Answer()
    assert [answer.add(each) for each in (chunk({"content": "a"}), chunk(), chunk({"content": "b"}))] == ["a", "", "b"]
    assert (answer.text, answer.tokens, answer.finish_reason) == ("ab", 2, None)


async def test_other_choices_are_not_mixed_in() -> None:
    other = chunk({"content": "no"})
    other.choices[0].index = 1
    made = await completed(streamed(chunk({"content": "yes"}), other, chunk(finish_reason="stop")))
    assert made.choices[0].message.content == "yes"


async def test_an_empty_answer_is_a_text_and_calls_alone_have_none() -> None:
    said = await completed(streamed(chunk(finish_reason="stop")))
    assert said.choices[0].message.content == ""
    called = await completed(
        streamed(chunk({"tool_calls": [call(0, "{}", id="x", name="f")]}, finish_reason="tool_calls"))
    )
    assert called.choices[0].message.content is None


async def test_a_stream_that_breaks_off_is_no_completion() -> None:
    with pytest.raises(ModelUnavailable, match="was interrupted"):
        await completed(streamed(chunk({"content": "half"})))
