"""An answer that only refuses is followed by the agent's offer; one that says why is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.refusal import bare_refusal
from agent.models.answer_chunks import calls, text
from agent.testing.fakes import RuleGuard, on
from flightloop.chat import NamedFunction, NamedToolChoice
from flightloop.content import text_of
from flightloop.tool import tool
from flightloop.verdicts import Action, Stage

BARE = (
    "I'm sorry, but I can't help with that.",
    "I can’t assist you with this request.",
    "Sorry, I cannot help with that one.",
    " I am unable to assist. ",
    "很抱歉，我无法帮助您处理这个问题。",
)


OFFER = {"en": "Shall I ask a colleague?", "zh": "需要我问同事吗？"}


@pytest.mark.parametrize("answer", BARE)
def test_a_bare_refusal_is_recognised(answer: str) -> None:
    assert bare_refusal(answer) == ("en" if answer.isascii() or "can’t" in answer else "zh")


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
    assert bare_refusal(answer) is None


@pytest.mark.parametrize("answer", [BARE[0], BARE[-1]])
async def test_the_agents_offer_follows_in_the_answers_language(make_bench: Callable[..., Any], answer: str) -> None:
    bench = make_bench([text(answer)], refusal_offer=OFFER)
    run = await bench.work(await bench.start("Third mail, still no answer!"))
    assert text_of(run.output) == f"{answer} {OFFER['en' if answer.isascii() else 'zh']}"


async def test_other_answers_and_agents_without_an_offer_stay_as_they_are(make_bench: Callable[..., Any]) -> None:
    for answer, spec in (("Which order is it?\n", {"refusal_offer": OFFER}), (BARE[0], {})):
        bench = make_bench([text(answer)], **spec)
        run = await bench.work(await bench.start("Third mail, still no answer!"))
        assert text_of(run.output) == answer


@tool
def pass_on(reason: str) -> str:
    """Gives the case to a person."""
    return "a colleague takes it over"


@pytest.mark.parametrize(
    ("said", "forced"), [("Yes, please.", True), ("No, thanks.", False), ("Yes, where is it?", False)]
)
async def test_a_yes_to_the_offer_calls_the_person(make_bench: Callable[..., Any], said: str, forced: bool) -> None:
    passed = (
        [calls(("pass_on", {"reason": "no answer"})), text("A colleague takes it over.")] if forced else [text("Fine.")]
    )
    bench = make_bench([text(BARE[0]), *passed], [pass_on], refusal_offer=OFFER, escalation=("pass_on",))
    await bench.work(await bench.start("Third mail!", session_id="s"))
    run = await bench.work(await bench.start(said, session_id="s"))
    choices = [request.tool_choice for request in bench.model.requests[1:]]
    assert choices[0] == (NamedToolChoice(function=NamedFunction(name="pass_on")) if forced else "auto")
    assert choices[1:] == ["auto"] * forced  # only the first decision
    assert run.stop_reason == ("escalated" if forced else "answered")


async def test_a_refusal_after_something_was_done_says_what(make_bench: Callable[..., Any]) -> None:
    """An offer of a person would be wrong if the case was just given to one."""
    over = calls(("refund_order", {"order_id": 17}))
    bench = make_bench([over, text(BARE[0])], [refund_order], refusal_offer=OFFER)
    run = await bench.work(await bench.start("Refund order 17.", session_id="s"))
    assert text_of(run.output) == f"{BARE[0]}\nDone: refund order."


@tool(effect="keyed")
def refund_order(order_id: int) -> str:
    """Refunds an order."""
    return "refunded"


@pytest.mark.parametrize("called", [True, False])
async def test_a_withheld_answer_says_what_was_done(make_bench: Callable[..., Any], called: bool) -> None:
    guard = RuleGuard(on(Stage.FINAL, Action.BLOCK))
    first = [calls(("refund_order", {"order_id": 17}))] if called else []
    bench = make_bench([*first, text("Your money is back.")], [refund_order], guard=guard)
    run = await bench.work(await bench.start("Refund order 17."))
    told = "\nDone: refund order." if called else ""
    assert (run.status, text_of(run.output)) == ("blocked", guard.policy.document.refusal + told)
