"""Calls that are held back once: with a value that the user's words contradict, or made already."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agent.loop import perform
from agent.loop.misread import MOST_CHARACTERS, misread, names_other_row
from agent.models.answer_chunks import calls, text
from flightloop.chat import NamedFunction, NamedToolChoice
from flightloop.content import text_of
from flightloop.events import RunCreated, RunResumed
from flightloop.runs import Budget, Origin, Run, RunStatus, StopReason
from flightloop.tool import ToolRefused, tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tests.agent.families import agent, family_of


def watching(rules: str = "") -> Guard:
    policy = f'name: watching\nversion: "1"\ntools: {{{rules}allow: {{"*": ["*"]}}, lock_to_plan: "off"}}\n'
    return Guard(unhurried(parse_policy(policy)))


NORMALISED = """
name: normalised
version: "1"
stages: {tool_result: {rails: [normalise]}}
tools: {allow: {"*": ["*"]}, lock_to_plan: "off"}
"""
TOURS = [
    {"tour_id": 31, "title": "Seal tour", "day": "Saturday"},
    {"tour_id": 32, "title": "Lighthouse tour", "day": "Friday"},
]


@pytest.mark.parametrize(
    ("arguments", "said", "told"),
    [
        ({"places": 1}, "I'd like three places for the children.", "places is 3"),
        ({"number_of_seats": 1}, "12 seats on Monday", "number of seats is 12"),
        ({"nights": 2}, "5 nights from 18 December", "nights is 5"),
        ({"time": "16:00"}, "On Friday at 6 pm, please.", "time is 18:00"),
    ],
)
def test_a_count_or_a_time_that_the_user_said_otherwise(arguments: dict[str, Any], said: str, told: str) -> None:
    assert misread(arguments, said) == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"places": 3}, "I'd like three places for the children."),
        ({"places": 1}, "Two places, three places, whatever."),
        ({"nights": 1}, "Extend 701 to 5 nights, and reserve A1 for 1 night."),
        ({"seats": 2}, "One seat by the window, please."),
        ({"places": 2}, "Not two places: one."),
        ({"seats": 2}, "Instead of four seats I want two."),
        ({"places": 1}, "Two days ago I asked for a place."),
        ({"party_size": 2}, "We are five."),
        ({"seats": 25}, "Twenty-five seats, please."),
        ({"seats": 200}, "Two hundred seats, please."),
        ({"seats": 6}, "Half a dozen seats, please."),
        ({"hours": 2.5}, "For 2.5 hours."),
        ({"points": 10000}, "Transfer 10,000 points."),
        ({"degrees": -5}, "At -5 degrees."),
        ({"account": 12}, "I have two accounts. Close the old one."),
        ({"room": 12}, "We had two rooms, 12 and 14."),
        ({"time": "18:00"}, "On Friday at 6 pm, please."),
        ({"time": "16:00"}, "On Friday at 6, please."),  # in the morning or in the evening
        ({"time": "16:00"}, "Move it from 6 pm to 8 pm."),
        ({"time": "16:00"}, "Any time except 6 pm."),
        ({"start": "15:00", "end": "17:00"}, "At 3 pm, please."),
        ({"end": "17:00"}, "At 3 pm for two hours."),
        ({"time": "17:00"}, "Remind me an hour before 6 pm."),
        ({"time": "17:00"}, "At 6 pm; store it in UTC."),
        ({"days": 7}, "In two days, please."),
        ({"note": "later"}, "At 6 pm."),
        ({"places": True, "none": None, "list": [1]}, "Three places, one list"),
        ({"places": 1}, "Two places. " * MOST_CHARACTERS),
    ],
)
def test_what_may_be_read_wrongly_is_left_to_the_model(arguments: dict[str, Any], said: str) -> None:
    assert misread(arguments, said) is None


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("The lighthouse tour, please.", True),
        ("Tour 31, the lighthouse one.", False),
        ("Every tour but the lighthouse one.", False),
        ("Tour No. 32, please.", True),
        ("tour no 32", True),
        ("No, the lighthouse tour is too long.", False),
        ("A tour, please.", False),
    ],
)
def test_a_row_that_the_user_did_not_name(said: str, other: bool) -> None:
    assert names_other_row({"tour_id": 31, "seats": 2}, [said], [TOURS]) is other


@pytest.mark.parametrize(
    ("said", "other"),
    [
        (["No.", "The lighthouse tour, please."], True),
        (["Tour 31.", "The lighthouse tour, please."], False),
        (["The seal one!", "The lighthouse tour, please."], False),
        (["The lighthouse tour, please.", "When is tour 31?"], True),
        (["Yes.", "The lighthouse tour, please.", "When is tour 31?"], True),
    ],
)
def test_the_newest_message_that_names_a_row_decides(said: list[str], other: bool) -> None:
    assert names_other_row({"tour_id": 31, "seats": 2}, said, [TOURS]) is other


@tool(effect="pure", returns_untrusted=False)
def list_tours() -> list[dict[str, Any]]:
    """Lists the tours."""
    return TOURS


@tool(effect="keyed", returns_untrusted=False)
def book(tour_id: int, seats: int = 1) -> str:
    """Books seats."""
    return f"booked {seats} on {tour_id}"


@tool(effect="keyed", returns_untrusted=False)
def pay() -> str:
    """Pays what is open."""
    return "paid"


ASKED = "Two seats on the lighthouse tour, please."
SEAL = calls(("book", {"tour_id": 31, "seats": 2}))


async def test_such_a_call_is_made_again(make_bench: Callable[..., Any]) -> None:
    answers = [calls(("book", {"tour_id": 32, "seats": seats})) for seats in (1, 2)]
    bench = make_bench([calls(("list_tours", {})), *answers, text("Booked.")], [list_tours, book])
    run = await bench.work(await bench.start(ASKED))
    assert text_of(run.output) == "Booked."
    assert bench.model.requests[2].tool_choice == NamedToolChoice(function=NamedFunction(name="book"))
    told = [one.text for one in bench.model.requests[3].messages if one.role == "tool"]
    assert told[1:] == ["error: not done yet: by the user's words, seats is 2", "booked 2 on 32"]


async def test_a_model_that_insists_has_its_way(make_bench: Callable[..., Any]) -> None:
    insists = calls(("book", {"tour_id": 32, "seats": 3}))
    bench = make_bench([calls(("list_tours", {})), insists, insists, text("Booked.")], [list_tours, book])
    await bench.work(await bench.start(ASKED))
    told = [one.text for one in bench.model.requests[3].messages if one.role == "tool"]
    assert told[1:] == ["error: not done yet: by the user's words, seats is 2", "booked 3 on 32"]


async def test_the_user_is_asked_about_a_row_that_seems_to_be_another(make_bench: Callable[..., Any]) -> None:
    """And the yes makes the call as it was shown, whatever the words before it name."""
    choice = SEAL
    bench = make_bench([calls(("list_tours", {})), choice, text("Booked.")], [list_tours, book])
    run = await bench.work(await bench.start(ASKED))
    assert run.stop_reason == StopReason.CONFIRMATION
    assert "book: seats 2, tour id 31" in text_of(run.output)
    bench.clock.forward(1)
    run = await bench.work(await bench.start("Yes"))
    assert text_of(run.output) == "Booked."
    told = [one.text for one in bench.model.requests[-1].messages if one.role == "tool"]
    assert told == ["booked 2 on 31"]


@pytest.mark.parametrize(
    "reply",
    [
        "no",
        "No, keep it.",
        "Stop!",
        "Thanks, bye.",
        "yes, but on Sunday",
        "The seal tour? Hm.",
        "Why 31?",
        "Is it Saturday?",
    ],
)
async def test_without_a_yes_the_call_is_not_made(make_bench: Callable[..., Any], reply: str) -> None:
    choice = SEAL
    bench = make_bench([calls(("list_tours", {})), choice, choice], [list_tours, book])
    await bench.work(await bench.start(ASKED))
    bench.clock.forward(1)
    assert (await bench.work(await bench.start(reply))).status is RunStatus.WAITING_APPROVAL


async def test_once_the_user_was_asked_each_write_of_the_session_needs_a_yes(make_bench: Callable[..., Any]) -> None:
    """His objection names the row as well, and must not vouch for it."""
    choices = [calls(("book", {"tour_id": tour, "seats": 2})) for tour in (31, 32, 31)]
    script = [calls(("list_tours", {})), choices[0], text("Well."), choices[0], choices[1], text("Booked.")]
    bench = make_bench(script, [list_tours, book])
    asked = []
    for said in (ASKED, "The seal tour?", "Is it on Saturday?", "The lighthouse!", "yes"):
        run = await bench.work(await bench.start(said))
        asked.append(text_of(run.output).splitlines()[-1])
        bench.clock.forward(1)
    tours = ["- book: seats 2, tour id 31", "Well.", *[f"- book: seats 2, tour id {tour}" for tour in (31, 32)]]
    assert asked == [*tours, "Booked."]


async def test_a_person_who_was_asked_counts_as_well(make_bench: Callable[..., Any]) -> None:
    """Nobody can say yes beside a run that waits, so a person is asked; and again, whatever the user writes then."""
    choice = SEAL
    ask = watching("ask: [{tool: pay}], ")
    bench = make_bench([calls(("pay", {})), calls(("list_tours", {})), choice, choice], [list_tours, book, pay], ask)
    for said in ("Pay.", ASKED, "When is the seal tour?"):
        assert (await bench.work(await bench.start(said, session_id="s"))).status is RunStatus.WAITING_APPROVAL
        bench.clock.forward(1)


async def test_a_person_whom_another_rule_asks_is_told_of_the_doubt(make_bench: Callable[..., Any]) -> None:
    choices = [calls(("book", {"tour_id": 31, **seats})) for seats in ({"seats": 2}, {})]
    ask = watching("ask: [{tool: book, argument: seats, above: 1}], ")
    bench = make_bench([calls(("list_tours", {})), choices[0], text("No."), choices[1]], [list_tours, book], ask)
    first = await bench.work(await bench.start(ASKED, session_id="s"))
    asked = (await bench.journal.approvals("default", status="pending")).data[0]
    assert [one.split(":")[0] for one in asked.asked] == ["arguments", "lists"]
    assert asked.reason == "; ".join(asked.asked)
    await bench.journal.decide("default", asked.id, "deny", "ann", "no")
    await bench.work(first)
    bench.clock.forward(1)
    objects = await bench.work(await bench.start("Stop, hands off the seal tour!", session_id="s"))
    assert objects.stop_reason is StopReason.CONFIRMATION


async def test_a_run_that_waited_knows_what_a_person_was_asked_later(make_bench: Callable[..., Any]) -> None:
    choice = calls(("book", {"tour_id": 31}))
    script = [calls(("list_tours", {})), calls(("pay", {})), calls(("list_tours", {})), choice, choice]
    bench = make_bench(script, [list_tours, book, pay], watching("ask: [{tool: pay}], "))
    waits = await bench.work(await bench.start("Pay, and when is the seal tour, 31?", session_id="s"))
    pays = (await bench.journal.approvals("default", status="pending")).data[0]
    bench.clock.forward(1)
    await bench.work(await bench.start("The lighthouse tour, please.", session_id="s"))
    await bench.journal.decide("default", pays.id, "approve", "ann")
    assert (await bench.work(waits)).stop_reason is StopReason.CONFIRMATION


async def _waiting(bench: Any) -> list[Any]:
    return (await bench.journal.approvals("default", status="pending")).data  # type: ignore[no-any-return]


async def _denied_below(bench: Any) -> Run:
    """The desk's run, after a person has denied the call of its sub-agent."""
    run = await bench.start(ASKED, agent="desk")
    await bench.until(partial(_waiting, bench))
    await bench.journal.decide("default", (await _waiting(bench))[0].id, "deny", "ann", "no")
    return await bench.work(run)  # type: ignore[no-any-return]


async def test_what_a_person_denied_a_sub_agent_is_not_made_later(make_bench: Callable[..., Any]) -> None:
    choice = SEAL
    delegates = calls(("ask_booker", {"task": "Book it."}))
    books = [delegates, calls(("list_tours", {})), choice]
    script = [*books, text("No."), text("Well."), *books]
    agents = [agent("desk", "booker"), agent("booker", tools=["list_tours", "book"])]
    bench = family_of(make_bench(script), agents, [list_tours, book], lambda policy: watching())

    await _denied_below(bench)
    bench.clock.forward(1)
    await bench.start("Is the seal tour on Saturday?", agent="desk")
    await bench.until(partial(_waiting, bench))


async def test_what_a_person_denied_a_sub_agent_its_caller_does_not_make_either(make_bench: Callable[..., Any]) -> None:
    delegates, lists = calls(("ask_booker", {"task": "Book it."})), calls(("list_tours", {}))
    script = [delegates, lists, SEAL, text("No."), calls(("pay", {}))]
    agents = [agent("desk", "booker", tools=["pay"]), agent("booker", tools=["list_tours", "book"])]
    bench = family_of(make_bench(script), agents, [list_tours, book, pay], lambda policy: watching())

    assert (await _denied_below(bench)).stop_reason is StopReason.CONFIRMATION


async def test_a_question_that_comes_between_check_and_intent_counts(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = calls(("list_tours", {}))
    bench = make_bench([lists, calls(("book", {"tour_id": 32})), lists, SEAL, text("Well.")], [list_tours, book])
    asked: list[Any] = []

    async def meanwhile(toolbox: Any, gate: Any, state: Any, *_: Any) -> None:
        if not asked and state.call.function.name == "book":
            asked.append(None)
            asked[0] = await bench.work(await bench.start(ASKED, session_id="s"))

    monkeypatch.setattr(perform, "outdated", meanwhile)
    run = await bench.work(await bench.start("Tour 32, please.", session_id="s"))
    results = [event for event in await bench.events(run) if event.type == "tool.result"]
    assert [one.error for one in results] == [None, perform.MEANWHILE]


@pytest.mark.parametrize("session", ["s", "another"])
async def test_a_fork_knows_what_was_asked(make_bench: Callable[..., Any], session: str) -> None:
    script = [calls(("list_tours", {})), SEAL, text("No."), SEAL]
    bench = make_bench(script, [list_tours, book], watching("ask: [{tool: book, argument: seats, above: 1}], "))
    run = await bench.work(await bench.start(ASKED, session_id="s"))
    asked = (await bench.journal.approvals("default", status="pending")).data[0]
    await bench.journal.decide("default", asked.id, "deny", "ann", "no")
    await bench.work(run)
    known = {"agent": run.agent, "session_id": session, "budget": run.budget, "origin": Origin(run_id=run.id, step=1)}
    fork = RunCreated.model_validate({**known, "input": "Stop, hands off the two seats on the seal tour!"})
    await bench.work((await bench.journal.create(fork)).run)
    again = (await bench.journal.approvals("default", status="pending")).data[0]
    assert [one.split(":")[0] for one in again.asked] == ["arguments", "lists"]


async def test_a_list_that_a_rail_has_changed_is_a_list(make_bench: Callable[..., Any]) -> None:
    @tool(effect="pure", returns_untrusted=False)
    def show_tours() -> list[dict[str, Any]]:
        """Shows the tours."""
        return [*TOURS, {"tour_id": 33, "title": "Mud\u00adflat tour", "day": "Sunday"}]

    choice = SEAL
    guard = Guard(unhurried(parse_policy(NORMALISED)))
    bench = make_bench([calls(("show_tours", {})), choice], [show_tours, book], guard)
    assert (await bench.work(await bench.start(ASKED))).stop_reason is StopReason.CONFIRMATION


@pytest.mark.parametrize("before", ["What about the seal tour?", "I do not know yet."])
async def test_a_sub_agents_call_is_compared_with_each_message(make_bench: Callable[..., Any], before: str) -> None:
    choice = SEAL
    script = [text("Well."), calls(("ask_booker", {"task": "Book it."})), calls(("list_tours", {})), choice]
    agents = [agent("desk", "booker"), agent("booker", tools=["list_tours", "book"])]
    bench = family_of(make_bench(script), agents, [list_tours, book], lambda policy: watching())
    await bench.work(await bench.start(before, agent="desk"))
    bench.clock.forward(1)
    await bench.start(ASKED, agent="desk")

    async def waits() -> bool:
        runs = (await bench.journal.runs("default")).data
        return any(one.agent == "booker" and one.status is RunStatus.WAITING_APPROVAL for one in runs)

    await bench.until(waits)


async def test_a_run_that_is_resumed_knows_what_was_asked_later(make_bench: Callable[..., Any]) -> None:
    choice = SEAL
    script = [calls(("list_tours", {})), calls(("list_tours", {})), choice, text("Well."), choice]
    bench = make_bench(script, [list_tours, book])
    first = await bench.work(await bench.start("When is the seal tour, 31?", budget=Budget(steps=1)))
    for said in (ASKED, "No."):
        bench.clock.forward(1)
        await bench.work(await bench.start(said))
    await bench.journal.append(first.id, [RunResumed(budget=Budget(steps=9))])
    assert (await bench.work(first)).stop_reason is StopReason.CONFIRMATION


async def test_harmless_writes_need_no_yes(make_bench: Callable[..., Any]) -> None:
    choices = [calls(("book", {"tour_id": 31, "seats": 2})), calls(("pay", {}))]
    script = [calls(("list_tours", {})), *choices, text("Paid.")]
    bench = make_bench(script, [list_tours, book, pay], watching("harmless: [pay], "))
    for said in (ASKED, "No."):
        run = await bench.work(await bench.start(said))
        bench.clock.forward(1)
    assert text_of(run.output) == "Paid."


async def test_a_call_that_is_made_again_is_no_surer_than_before(make_bench: Callable[..., Any]) -> None:
    first = calls(("book", {"tour_id": 32, "seats": 1}), confidence=0.3)
    again = calls(("book", {"tour_id": 32, "seats": 2}), confidence=0.95)
    bench = make_bench([first, again], [list_tours, book], watching("ask: [{tool: book, confidence_below: 0.5}], "))
    assert (await bench.work(await bench.start("Two seats on tour 32, please."))).status == "waiting_approval"


async def test_a_tools_own_words_hold_no_call_back(make_bench: Callable[..., Any]) -> None:
    @tool(effect="pure", returns_untrusted=True)
    def read_page() -> str:
        """Reads a page."""
        raise ToolRefused("not done yet, because this is missing: x; first comes book")

    bench = make_bench([calls(("read_page", {})), text("I can't read it.")], [read_page, book])
    run = await bench.work(await bench.start("Read the page."))
    assert text_of(run.output) == "I can't read it."
    assert bench.model.requests[1].tool_choice == "auto"
    assert [one.text for one in bench.model.requests[1].messages if one.role == "tool"]


async def test_a_call_that_the_run_has_made_is_not_put_to_a_person_at_once(make_bench: Callable[..., Any]) -> None:
    again = calls(("book", {"tour_id": 32, "seats": 2}))
    bench = make_bench([again, again, text("Two seats are booked.")], [list_tours, book], watching())
    run = await bench.work(await bench.start("Two seats on tour 32, please."))
    assert text_of(run.output) == "Two seats are booked."
    told = [one.text for one in bench.model.requests[2].messages if one.role == "tool"]
    assert told == ["booked 2 on 32", "error: it was done already, and was not done again; answer the user"]
    insists = make_bench([again, again, again], [list_tours, book], watching())
    assert (await insists.work(await insists.start("Two seats on tour 32, please."))).status == "waiting_approval"
