"""An answer whose values stand nowhere is asked for again, then shortened; on both journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.decide import LOOK_IT_UP
from agent.models.answer_chunks import calls, text
from flightloop.content import text_of
from flightloop.tool import tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried

POLICY = """
name: desk
version: "1"
stages:
  final:
    rails:
      - {rail: groundedness, action: redact, names: true, otherwise: I do not know that.}
"""


@tool(effect="pure")
def parcel(number: str) -> str:
    """Says where a parcel is."""
    return f"{number} is in Porto, due on 2026-05-03"


LOOK = calls(("parcel", {"number": "P-77"}))


@pytest.fixture
def desk(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    guard = Guard(unhurried(parse_policy(POLICY)))
    return lambda *script, tools=(parcel,), **spec: make_bench(script, list(tools), guard=guard, **spec)


async def test_a_model_that_invents_is_told_what_stands_nowhere_and_may_look_it_up(desk: Callable[..., Any]) -> None:
    bench = desk(text("It went to Berlin."), LOOK, text("It is in Porto and comes on 3 May."))
    run = await bench.work(await bench.start("Where is P-77?"))
    assert text_of(run.output) == "It is in Porto and comes on 3 May."
    told = bench.model.requests[1].messages[-1].text
    assert '"Berlin"' in told
    assert LOOK_IT_UP in told


async def test_one_that_invents_again_is_cut_to_what_has_evidence(desk: Callable[..., Any]) -> None:
    bench = desk(LOOK, text("It is in Porto. It weighs 41 kg."), text("It is in Porto. It weighs 42 kg."))
    run = await bench.work(await bench.start("Where is P-77?"))
    assert (run.status, text_of(run.output)) == ("succeeded", "It is in Porto.")


async def test_where_nothing_is_left_the_policy_says_so(desk: Callable[..., Any]) -> None:
    bench = desk(text("It went to Berlin."), text("It went to Hamburg."))
    run = await bench.work(await bench.start("Where is P-77?"))
    assert text_of(run.output) == "I do not know that."


async def test_one_without_tools_is_not_asked_again(desk: Callable[..., Any]) -> None:
    bench = desk(text("Good morning. It went to Berlin."), tools=())
    run = await bench.work(await bench.start("Where is P-77?"))
    assert text_of(run.output) == "Good morning."


async def test_instructions_and_earlier_answers_are_evidence(desk: Callable[..., Any]) -> None:
    bench = desk(
        LOOK,
        text("It is in Porto, due on 3 May."),
        text("On 3 May, in Porto. Claims are taken for 14 days."),
        instructions="Claims are taken for 14 days.",
    )
    await bench.work(await bench.start("Where is P-77?", session_id="s"))
    run = await bench.work(await bench.start("When does it come?", session_id="s"))
    assert text_of(run.output) == "On 3 May, in Porto. Claims are taken for 14 days."
