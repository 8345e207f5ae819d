"""An answer is taken from the model by a task of its own; what gathers behind a slow reader leaves in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model_call.reading import Reading
from flightloop.chat import ChatChunk, ChunkChoice, Delta, Usage
from flightloop.errors import ModelUnavailable


def text(said: str, **fields: object) -> ChatChunk:
    choice = ChunkChoice(delta=Delta(content=said), **fields)
    return ChatChunk(id="c", created=0, model="m", choices=[choice])


def end(reason: str = "stop") -> ChatChunk:
    return ChatChunk(id="c", created=0, model="m", choices=[ChunkChoice(finish_reason=reason)])


class Source:
    """Gives chunks and notes whether it was closed before its end."""

    def __init__(self, chunks: Sequence[ChatChunk | BaseException], hangs: bool = False) -> None:
        self._chunks, self._hangs = chunks, hangs
        self.closed = asyncio.Event()

    async def stream(self) -> AsyncGenerator[ChatChunk, None]:
        try:
            for chunk in self._chunks:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
            if self._hangs:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


def said_by(chunks: Sequence[ChatChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices if choice.index == index)


async def test_a_quick_reader_gets_each_piece_and_a_slow_one_all_that_gathered() -> None:
    reading = Reading(Source([text("a"), text("b"), text("c"), end()]).stream())
    await asyncio.sleep(0)  # the source never waits: it is through by now
    assert [said_by([chunk]) async for chunk in reading] == ["abc", ""]
    await reading.aclose()


@given(
    st.lists(
        st.sampled_from(["text", "words", "other", "role", "call", "usage", "end", "logprobs", "wait"]), max_size=12
    )
)
async def test_joining_changes_nothing_that_is_told(kinds: list[str]) -> None:
    made = {
        "text": text("x"),
        "words": text(" more words"),
        "other": ChatChunk(id="c", created=0, model="m", choices=[ChunkChoice(index=1, delta=Delta(content="z"))]),
        "role": ChatChunk(id="c", created=0, model="m", choices=[ChunkChoice(delta=Delta(role="assistant"))]),
        "call": ChatChunk.model_validate(
            {"id": "c", "created": 0, "model": "m", "choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}
        ),
        "usage": ChatChunk(id="c", created=0, model="m", usage=Usage(total_tokens=3)),
        "end": end(),
        "logprobs": text("y", logprobs={"content": [{"token": "y", "logprob": -1.0}]}),
    }

    async def source() -> AsyncGenerator[ChatChunk, None]:
        for kind in kinds:
            if kind == "wait":
                await asyncio.sleep(0)
            else:
                yield made[kind]

    given_out = [made[kind] for kind in kinds if kind != "wait"]
    reading = Reading(source())
    read = [chunk async for chunk in reading]
    await reading.aclose()
    assert said_by(read) == said_by(given_out)
    assert said_by(read, 1) == said_by(given_out, 1)
    others = [chunk for chunk in given_out if chunk not in (made["text"], made["words"], made["other"])]
    assert [chunk for chunk in read if chunk in others] == others, "what is no plain text stays apart and in order"


async def test_an_error_comes_behind_what_was_said_before_it() -> None:
    reading = Reading(Source([text("a"), ValueError("broken")]).stream())
    assert said_by([await anext(reading)]) == "a"
    with pytest.raises(ValueError, match="broken"):
        await anext(reading)
    await reading.aclose()


async def test_a_source_that_is_cancelled_from_below_is_not_whole() -> None:
    reading = Reading(Source([text("a"), asyncio.CancelledError()]).stream())
    assert said_by([await anext(reading)]) == "a"
    with pytest.raises(ModelUnavailable, match="was interrupted"):
        await anext(reading)
    await reading.aclose()


async def test_closing_a_reading_closes_its_source() -> None:
    source = Source([text("a")], hangs=True)
    reading = Reading(source.stream())
    assert said_by([await anext(reading)]) == "a"
    assert not source.closed.is_set()
    await reading.aclose()
    assert source.closed.is_set()


async def test_what_ends_a_stream_ends_it_at_once() -> None:
    stop = asyncio.Event()
    source = Source([text("a")], hangs=True)
    reading = Reading(source.stream())
    reading.end_with(stop.wait())
    await asyncio.sleep(0)
    stop.set()
    assert [chunk async for chunk in reading] in ([], [text("a")])
    await reading.aclose()
    assert source.closed.is_set()
