"""An answer that only refuses is followed by the agent's offer; one that says why is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.refusal import bare_refusal, is_told_by, refuses
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


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("I can't refund order 17, but I can cancel it.", "Done: refund order."),
        ("I can't refund that order. Please wait a week.", "Please wait a week.\nDone: refund order."),
        (  # what stood around the sentence that is left out makes no host together
            "I can't refund that order. See evil。I can't refund that order！com now.",
            "See evil。\ncom now.\nDone: refund order.",
        ),
        ("I can't tell you the day of the refund.", "I can't tell you the day of the refund.\nDone: refund order."),
    ],
)
async def test_an_answer_that_denies_what_was_done_is_not_shown(
    make_bench: Callable[..., Any], answer: str, told: str
) -> None:
    bench = make_bench([calls(("refund_order", {"order_id": 17})), text(answer)], [refund_order])
    created = await bench.start("Refund order 17.")
    with bench.deltas.listen(created.id) as heard:
        run = await bench.work(created)
    assert text_of(run.output) == told
    assert "".join(getattr(heard.get_nowait(), "text", "") for _ in range(heard.qsize())) == told


@pytest.mark.parametrize("second", ["A colleague will answer you.", "I can't hand you over."])
async def test_who_is_given_to_a_person_is_not_told_that_they_cannot_be(
    make_bench: Callable[..., Any], second: str
) -> None:
    denied = text("I am sorry, but I can't hand you over. Please ask a colleague.")
    bench = make_bench(
        [calls(("pass_on", {"reason": "asked"})), denied, text(second)], [pass_on], escalation=("pass_on",)
    )
    run = await bench.work(await bench.start("Nobody helps me."))
    assert text_of(run.output) == ("Done: pass on." if "can't" in second else second)
    assert [request.tool_choice for request in bench.model.requests] == ["auto", "auto", "none"]


@pytest.mark.parametrize(("denied", "language"), [("I can't hand you over.", "en"), ("我不能转接。", "zh")])
async def test_the_agents_notice_stands_in_place_of_such_an_answer(
    make_bench: Callable[..., Any], denied: str, language: str
) -> None:
    notice = {"en": "A colleague will answer you.", "zh": "同事会答复您。"}
    answers = [calls(("pass_on", {"reason": "asked"})), text(denied), text(denied)]
    bench = make_bench(answers, [pass_on], escalation=("pass_on",), escalation_notice=notice)
    created = await bench.start("Nobody helps me.")
    with bench.deltas.listen(created.id) as heard:
        run = await bench.work(created)
    shown = [heard.get_nowait() for _ in range(heard.qsize())]
    assert text_of(run.output) == notice[language]
    latest = max(one.after for one in shown)
    assert "".join(one.text for one in shown if one.after == latest) == notice[language]


async def test_the_notice_tells_what_else_was_done(make_bench: Callable[..., Any]) -> None:
    made = calls(("refund_order", {"order_id": 17})), calls(("pass_on", {"reason": "asked"}))
    bench = make_bench(
        [*made, text("I can't do that."), text("I can't do that.")],
        [refund_order, pass_on],
        escalation=("pass_on",),
        escalation_notice={"en": "A colleague will answer you."},
    )
    run = await bench.work(await bench.start("Refund order 17, and somebody may answer me."))
    assert text_of(run.output) == "A colleague will answer you.\nDone: refund order."


@pytest.mark.parametrize("spec", [{"escalation": ("pass_on",)}, {}])
async def test_who_asks_for_a_person_gets_one(make_bench: Callable[..., Any], spec: dict[str, Any]) -> None:
    answers = [calls(("pass_on", {"reason": "asked"})), text("A colleague will answer you.")]
    bench = make_bench(answers, [pass_on], **spec)
    run = await bench.work(await bench.start("Let me talk to a real person."))
    forced = NamedToolChoice(function=NamedFunction(name="pass_on")) if spec else "auto"
    assert [request.tool_choice for request in bench.model.requests] == [forced, "auto"]
    assert run.stop_reason == ("escalated" if spec else "answered")


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


CANT = "I can't tell you that. I can help you with your own orders."
RULES = "Fines: A late book costs 20 cents a day. Lost books are paid for."


@tool(effect="pure")
def look_up(query: str) -> str:
    """Searches the rules."""
    return RULES


async def played(make_bench: Callable[..., Any], *answers: Any, **spec: Any) -> tuple[str, list[Any], Any]:
    """The answer to a question, the tool choices of the model's calls, and the bench."""
    bench = make_bench([*answers], [look_up, refund_order], **{"before_refusing": "look_up"} | spec)
    run = await bench.work(await bench.start("What does a late book cost?"))
    return text_of(run.output), [request.tool_choice for request in bench.model.requests], bench


SEARCH = calls(("look_up", {"query": "fines"}))
FORCED = NamedToolChoice(function=NamedFunction(name="look_up"))


async def test_a_refusal_comes_after_a_look_up(make_bench: Callable[..., Any]) -> None:
    told, choices, bench = await played(make_bench, text(CANT), SEARCH, text("A late book costs 20 cents a day."))
    assert told == "A late book costs 20 cents a day."
    assert choices == ["auto", FORCED, "auto"]
    prompts = [request.messages for request in bench.model.requests]
    assert prompts[1] == prompts[0]  # the model does not read that it refused
    assert CANT not in str(prompts[2])


@pytest.mark.parametrize(
    "second",
    ["Late books are free for children.", "I couldn't find anything about that.", "No late book was ever lost by you."],
)
async def test_the_refusal_stays_if_what_follows_was_not_read(make_bench: Callable[..., Any], second: str) -> None:
    bench = make_bench([text(CANT), SEARCH, text(second)], [look_up], before_refusing="look_up")
    created = await bench.start("What does a late book cost?")
    with bench.deltas.listen(created.id) as heard:
        run = await bench.work(created)
    shown = [heard.get_nowait() for _ in range(heard.qsize())]
    assert text_of(run.output) == CANT
    assert second not in "".join(getattr(one, "text", "") for one in shown)


async def test_a_bare_refusal_that_stays_has_the_offer(make_bench: Callable[..., Any]) -> None:
    told, _, _ = await played(make_bench, text(BARE[0]), SEARCH, text(BARE[1]), refusal_offer=OFFER)
    assert told == f"{BARE[0]} {OFFER['en']}"


@pytest.mark.parametrize(("refusal", "language"), [(CANT, "en"), ("这件事我不能告诉您。我可以查您的订单。", "zh")])
async def test_any_refusal_that_a_look_up_did_not_change_has_the_offer(
    make_bench: Callable[..., Any], refusal: str, language: str
) -> None:
    told, _, _ = await played(make_bench, text(refusal), SEARCH, text(refusal), refusal_offer=OFFER)
    assert told == f"{refusal} {OFFER[language]}"


async def test_a_refusal_after_a_call_stays(make_bench: Callable[..., Any]) -> None:
    """A look-up can't better it. What was done is added, since the refusal may be of a second wish, or wrong."""
    told, choices, _ = await played(make_bench, calls(("refund_order", {"order_id": 17})), text(CANT))
    assert (told, choices) == (f"{CANT}\nDone: refund order.", ["auto", "auto"])


async def test_what_is_done_after_the_look_up_is_told(make_bench: Callable[..., Any]) -> None:
    after = [calls(("refund_order", {"order_id": 17})), text("Your money is on its way.")]
    told, choices, _ = await played(make_bench, text(CANT), SEARCH, *after)
    assert (told, choices) == ("Your money is on its way.", ["auto", FORCED, "auto", "auto"])


async def test_the_model_is_forced_once(make_bench: Callable[..., Any]) -> None:
    told, choices, _ = await played(make_bench, text(CANT), text(CANT))
    assert (told, choices) == (CANT, ["auto", FORCED])


async def test_other_answers_and_agents_without_a_look_up_stay(make_bench: Callable[..., Any]) -> None:
    assert (await played(make_bench, text("Which book is it?")))[0] == "Which book is it?"
    assert (await played(make_bench, text(CANT), before_refusing=None))[0] == CANT


@pytest.mark.parametrize(
    ("answer", "does"),
    [
        ("抱歉，我们没有这个服务。", True),
        ("抱歉，我们不提供打印服务。", True),
        ("We don't offer that.", True),
        ("没有运费。", False),
        (CANT, True),
        ("Unfortunately, I cannot say. Shall I ask?", True),
        ("I don’t know when it comes.", True),
        ("抱歉，我不知道。", True),
        ("Your order can't be cancelled any more.", False),
        ("It costs 20 cents. I can't say more.", False),
        ("Which order is it?", False),
        ("我已取消订单。", False),
        ("", False),
    ],
)
def test_a_first_sentence_that_refuses(answer: str, does: bool) -> None:
    assert refuses(answer) is does


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("A late book costs 20 cents a day.", True),
        ("Yes: 20 cents a day.", True),
        ("A late book costs 30 cents a week.", False),
        ("迟还一天罚款20分。", True),  # in another language than the text
        ("I don't know what a late book costs.", False),
    ],
)
def test_an_answer_that_was_read(answer: str, read: bool) -> None:
    assert is_told_by(answer, [RULES, "Is that so? Yes or no?"]) is read
