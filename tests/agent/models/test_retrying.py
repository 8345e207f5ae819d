"""A model call is tried again by one piece, before its first token and as often as its policy says."""

from __future__ import annotations

import pytest

from agent.models.answer_chunks import Turn
from agent.models.retrying import COMPLETIONS, RUNS, Retries, RetryingChatModel
from agent.testing.fakes import ScriptedChatModel
from flightloop.chat import ChatChunk, ChatRequest, ChunkChoice, Delta
from flightloop.errors import ContextTooLong, FlightloopError, InternalError, ModelUnavailable, Overloaded

REQUEST = ChatRequest(model="m", messages=[{"role": "user", "content": "x"}])


def chunk(text: str | None) -> ChatChunk:
    return ChatChunk(id="c", created=0, model="m", choices=[ChunkChoice(delta=Delta(role="assistant", content=text))])


class Waits:
    """Notes how long was slept instead of sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def told(script: list[Turn], retries: Retries, waits: Waits) -> str:
    subject = RetryingChatModel(ScriptedChatModel(script), retries, waits)
    return "".join([each.choices[0].delta.content or "" async for each in subject.stream(REQUEST)])


async def test_a_run_waits_for_a_place_in_the_queue_as_long_as_it_takes() -> None:
    waits = Waits()
    full: list[Turn] = [[Overloaded("full", retry_after=after)] for after in (3.0, None, 900.0, 1.0, 1.0, 1.0)]
    assert await told([*full, [chunk("a"), chunk("b")]], RUNS, waits) == "ab"
    assert waits.seconds == [3.0, 0.5, 30.0, 1.0, 1.0, 1.0]


async def test_a_client_is_told_of_a_full_queue() -> None:
    waits = Waits()
    with pytest.raises(Overloaded):
        await told([[Overloaded("full")]], COMPLETIONS, waits)
    assert not waits.seconds


@pytest.mark.parametrize("retries", [RUNS, COMPLETIONS])
async def test_a_model_that_comes_back_is_asked_again(retries: Retries) -> None:
    waits = Waits()
    lost = ModelUnavailable("lost")
    script: list[Turn] = [[lost], [chunk(None), lost], [ModelUnavailable("lost", retry_after=2.0)], [chunk("a")]]
    assert await told(script, retries, waits) == "a"
    first, second, third = waits.seconds
    assert 0 <= first <= 0.2
    assert 0 <= second <= 0.4
    assert third == 2.0


async def test_tries_come_to_an_end() -> None:
    waits = Waits()
    with pytest.raises(ModelUnavailable):
        await told([[ModelUnavailable("lost")]] * 5, COMPLETIONS, waits)
    assert len(waits.seconds) == 4


@pytest.mark.parametrize("error", [Overloaded("full"), ModelUnavailable("lost")])
async def test_what_has_begun_is_not_begun_again(error: FlightloopError) -> None:
    waits = Waits()
    with pytest.raises(type(error)):
        await told([[chunk("a"), error], [chunk("b")]], RUNS, waits)
    assert not waits.seconds


@pytest.mark.parametrize("error", [ContextTooLong("long"), InternalError("broken")])
async def test_errors_that_no_other_try_helps_pass(error: FlightloopError) -> None:
    waits = Waits()
    with pytest.raises(type(error)):
        await told([[error], [chunk("a")]], RUNS, waits)
    assert not waits.seconds
