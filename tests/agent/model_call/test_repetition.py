"""An answer that repeats itself is cut, and tried once more with a penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model_call.repetition import PENALTY, Repeats, Repetition, repeats
from agent.models.answer_chunks import text
from agent.testing.api import Said, api_deps
from flightloop.content import text_of
from tests.agent.model_call.test_markup import ask

LOOPS = [
    "Your card number is " + "4111 1111 " * 40,
    "ha " * 60,
    "I can't help with that. " * 12,
    "I am sorry to hear that your order has not arrived yet, let me look into this for you right away. " * 8,
    "0" * 200,
    "The number is " + "".join(f"{n * 7919 % 10**4:04} " for n in range(1, 40)),
    "." * 600,
]
PLAIN = [
    "Your order was sent on 3 May and arrives tomorrow. " + "Anything else?",
    "| item | price |\n| --- | --- |\n" + "".join(f"| item {n} | {n}.00 EUR |\n" for n in range(40)),
    "-" * 200,
    "Your IBAN is DE89 3704 0044 0532 0130 00, your card 4111 1111 1111 1111.",
    "no, " * 20,
    "".join(f"{n}. Step {n}\n" for n in range(80)),
    " ".join(map(str, range(300))),
]


def pushed(answer: str, size: int) -> None:
    repetition = Repetition()
    for start in range(0, len(answer), size):
        repetition.push(answer[start : start + size])


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("answer", LOOPS)
def test_loops_are_found(answer: str, size: int) -> None:
    with pytest.raises(Repeats):
        pushed(answer, size)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("answer", PLAIN)
def test_other_answers_are_none(answer: str, size: int) -> None:
    pushed(answer, size)


@given(st.text("ab 1.", min_size=1, max_size=60), st.integers(1, 40))
def test_what_is_repeated_often_enough_is_found_whatever_it_is(unit: str, times: int) -> None:
    found = repeats(unit * times)
    if times >= 6 and len(unit) * times >= 480:
        assert found
    if len(unit) * times < 96:
        assert not found


async def test_a_run_tries_once_more_with_a_penalty(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text(*("ha " for _ in range(100))), text("It was sent.")])
    run = await bench.work(await bench.start())
    assert (run.status, text_of(run.output)) == ("succeeded", "It was sent.")
    assert [request.frequency_penalty for request in bench.model.requests] == [0, PENALTY]
    first, second = bench.model.requests
    assert second.messages == first.messages


async def test_a_run_that_repeats_itself_again_fails(make_bench: Callable[..., Any]) -> None:
    loop = text(*("ha " for _ in range(100)))
    bench = make_bench([loop, loop])
    run = await bench.work(await bench.start())
    assert (run.status, run.error.code) == ("failed", "invalid_call")
    assert "over and over" in run.error.message


async def test_a_completion_that_is_held_tries_once_more() -> None:
    deps = api_deps(Said(LOOPS[0]), Said("It was sent."), streaming="held")
    answer = (await ask(deps)).json()
    assert answer["choices"][0]["message"]["content"] == "It was sent."
    assert [request.frequency_penalty for request in deps.model.requests] == [0, PENALTY]


@pytest.mark.parametrize("streaming", ["held", "live"])
async def test_one_that_goes_on_so_is_cut(streaming: str) -> None:
    deps = api_deps(Said("It was sent. Anything else? Is there " * 20), streaming=streaming)
    answer = (await ask(deps)).json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].count("sent") < 20
    assert answer["usage"]["completion_tokens"] > 0


async def test_json_may_repeat_itself() -> None:
    zeros = "[" + "0," * 200 + "0]"
    deps = api_deps(Said(zeros), streaming="held")
    answer = (await ask(deps, response_format={"type": "json_object"})).json()
    assert answer["choices"][0]["message"]["content"] == zeros
