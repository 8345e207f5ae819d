"""An answer that only refuses is asked for once more; one that says why is taken as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.decide import WITHOUT_REMOVED
from agent.loop.refusal import WITHOUT_A_REASON, refuses_barely
from agent.models.answer_chunks import text
from flightloop.content import text_of
from flightloop.tool import tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried

POLICY = """
name: desk
version: "1"
stages:
  final:
    rails: [pii]
"""
BARE = (
    "I'm sorry, but I can't help with that.",
    "I can’t assist you with this request.",
    "Sorry, I cannot help with that one.",
    " I am unable to assist. ",
    "很抱歉，我无法帮助您处理这个问题。",
)


@pytest.mark.parametrize("answer", BARE)
def test_a_bare_refusal_is_recognised(answer: str) -> None:
    assert refuses_barely(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, I can't help with that: order 10234 was delivered in January.",
        "I can't help with that. Which order is it?",
        "I can help with that.",
        "I can't cancel it, because it has shipped.",
        "抱歉，订单已经发货，无法取消。",
        "",
    ],
)
def test_an_answer_that_says_more_is_none(answer: str) -> None:
    assert not refuses_barely(answer)


@tool
def pass_on(reason: str) -> str:
    """Gives the case to a person."""
    return "a person takes it over"


async def test_the_model_is_told_once_that_there_is_a_person(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text(BARE[0]), text("Which order is it?")], [pass_on], escalation=("pass_on",))
    run = await bench.work(await bench.start("Third mail, still no answer!"))
    assert text_of(run.output) == "Which order is it?"
    told = bench.model.requests[1].messages[-1].text
    assert WITHOUT_A_REASON in told
    assert "pass_on" in told


async def test_it_is_then_taken_at_its_word(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text(BARE[0]), text(BARE[1])], [pass_on], escalation=("pass_on",))
    run = await bench.work(await bench.start("Break into their account."))
    assert (run.status, text_of(run.output)) == ("succeeded", BARE[1])


async def test_without_a_person_a_refusal_stands(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text(BARE[0])], [pass_on])
    run = await bench.work(await bench.start("Break into their account."))
    assert text_of(run.output) == BARE[0]


async def test_an_answer_with_removed_values_is_given_without_them(make_bench: Callable[..., Any]) -> None:
    guard = Guard(unhurried(parse_policy(POLICY)))
    answers = text("Write to ann@example.org, please."), text("Which order is it?")
    bench = make_bench(answers, [pass_on], guard=guard)
    run = await bench.work(await bench.start("I want to send something back."))
    assert text_of(run.output) == "Which order is it?"
    assert WITHOUT_REMOVED in bench.model.requests[1].messages[-1].text
