from __future__ import annotations

import pytest

from agent.fakes import ScriptedChatModel
from agent.models.patient import PatientChatModel
from flightloop.chat import ChatChunk, ChatRequest, ChunkChoice, Delta
from flightloop.errors import ModelUnavailable, Overloaded

REQUEST = ChatRequest(model="m", messages=[{"role": "user", "content": "x"}])


def chunk(text: str) -> ChatChunk:
    return ChatChunk(id="c", created=0, model="m", choices=[ChunkChoice(delta=Delta(content=text))])


class Waits:
    """Notes how long was slept instead of sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_a_full_queue_is_waited_for() -> None:
    waits = Waits()
    full = [[Overloaded("full", retry_after=3.0)], [Overloaded("full")], [Overloaded("full", retry_after=900.0)]]
    subject = PatientChatModel(ScriptedChatModel([*full, [chunk("a"), chunk("b")]]), waits)
    assert [each.choices[0].delta.content async for each in subject.stream(REQUEST)] == ["a", "b"]
    assert waits.seconds == [3.0, 0.5, 30.0]


async def test_completions_wait_as_well() -> None:
    waits = Waits()
    subject = PatientChatModel(ScriptedChatModel([[Overloaded("full", retry_after=2.0)], [chunk("a")]]), waits)
    assert (await subject.complete(REQUEST)).choices[0].message.content == "a"
    assert waits.seconds == [2.0]


async def test_what_has_begun_is_not_begun_again() -> None:
    waits = Waits()
    subject = PatientChatModel(ScriptedChatModel([[chunk("a"), Overloaded("full")], [chunk("b")]]), waits)
    with pytest.raises(Overloaded):
        async for _ in subject.stream(REQUEST):
            pass
    assert not waits.seconds


async def test_other_errors_pass() -> None:
    waits = Waits()
    subject = PatientChatModel(ScriptedChatModel([[ModelUnavailable("lost")]]), waits)
    with pytest.raises(ModelUnavailable):
        await anext(subject.stream(REQUEST))
    assert not waits.seconds
