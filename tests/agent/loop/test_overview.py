"""A model that is unsure of a call, or makes its number up, reads the agent's list first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.misread import taken_twice
from agent.loop.overview import overview
from agent.models.answer_chunks import calls, plan, text
from flightloop.chat import NamedFunction, NamedToolChoice
from flightloop.content import text_of
from flightloop.events import ToolIntent
from flightloop.runs import RunStatus
from flightloop.tool import tool, tool_of
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tools.registry import Registry

UNSURE = text("Which tour is it?", withheld=0.01)
LIST = calls(("list_tours", {}))
BOOK = calls(("book", {"tour_id": 33}))


@tool(effect="pure", returns_untrusted=False)
def list_tours(day: str = "") -> str:
    """Lists the tours."""
    return "33: seal tour on Saturday"


@tool(effect="pure", returns_untrusted=False)
def list_piers() -> str:
    """Lists the piers."""
    return "north, south"


@tool(effect="keyed")
def book(tour_id: int) -> str:
    """Books a seat."""
    return f"booked {tour_id}"


def watching() -> Guard:
    """Asks about values of unknown origin, as the default policy does."""
    return Guard(
        unhurried(parse_policy('name: watching\nversion: "1"\ntools: {allow: {"*": ["*"]}, lock_to_plan: "off"}\n'))
    )


def registry(*functions: Callable[..., Any]) -> Registry:
    return Registry([made for one in functions if (made := tool_of(one)) is not None])


async def test_the_list_is_read_before_the_question(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([UNSURE, LIST, BOOK, text("It is booked.")], [list_tours, book])
    created = await bench.start("Book the seal tour.")
    with bench.deltas.listen(created.id) as heard:
        run = await bench.work(created)
    assert text_of(run.output) == "It is booked."
    forced = NamedToolChoice(function=NamedFunction(name="list_tours"))
    assert [request.tool_choice for request in bench.model.requests] == ["auto", forced, "auto", "auto"]
    assert "Which tour" not in str([request.messages for request in bench.model.requests[1:]])
    assert "Which tour" not in "".join(getattr(heard.get_nowait(), "text", "") for _ in range(heard.qsize()))


async def test_it_is_read_once(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([UNSURE, LIST, UNSURE], [list_tours, book])
    run = await bench.work(await bench.start("Book the tour."))
    assert (text_of(run.output), len(bench.model.requests)) == ("Which tour is it?", 3)


@pytest.mark.parametrize(
    ("first", "tools"),
    [
        (text("Which tour is it?"), [list_tours, book]),  # it wanted no call
        (UNSURE, [book]),
        (UNSURE, [list_tours, list_piers, book]),  # which of the two would help?
    ],
)
async def test_otherwise_the_answer_stays(make_bench: Callable[..., Any], first: Any, tools: list[Any]) -> None:
    bench = make_bench([first], tools)
    run = await bench.work(await bench.start("Book the tour."))
    assert (text_of(run.output), len(bench.model.requests)) == ("Which tour is it?", 1)


async def test_it_comes_after_a_call_with_a_made_up_number_which_the_model_does_not_see_again(
    make_bench: Callable[..., Any],
) -> None:
    guess = calls(("book", {"tour_id": 7}))
    bench = make_bench([guess, LIST, BOOK, text("It is booked.")], [list_tours, book], watching())
    run = await bench.work(await bench.start("Book the seal tour."))
    assert text_of(run.output) == "It is booked."
    second, third = bench.model.requests[1:3]
    assert second.tool_choice == NamedToolChoice(function=NamedFunction(name="list_tours"))
    assert "this is missing" not in str([request.messages for request in bench.model.requests])
    assert [call.function.name for one in third.messages for call in one.tool_calls or ()] == ["list_tours"]


async def test_the_same_guess_after_it_is_told_to_the_model(make_bench: Callable[..., Any]) -> None:
    guess = calls(("book", {"tour_id": 7}))
    bench = make_bench([guess, LIST, guess, text("Which tour is it?")], [list_tours, book], watching())
    run = await bench.work(await bench.start("Book the seal tour."))
    assert text_of(run.output) == "Which tour is it?"
    told = [one.text for one in bench.model.requests[3].messages if one.role == "tool"]
    assert told[-1].startswith("error: not done yet, because this is missing: tour id. Look it up")


async def test_a_model_that_insists_reaches_a_person(make_bench: Callable[..., Any]) -> None:
    """The first call, which was held back for the list, is none that has failed."""
    guess = calls(("book", {"tour_id": 7}))
    bench = make_bench([guess, LIST, guess, guess], [list_tours, book], watching())
    run = await bench.work(await bench.start("Book the seal tour."))
    assert run.status is RunStatus.WAITING_APPROVAL


async def test_no_new_plan_comes_before_the_list(make_bench: Callable[..., Any]) -> None:
    script = [plan("book", "book"), calls(("book", {"tour_id": 7})), LIST, BOOK, text("It is booked.")]
    bench = make_bench(script, [list_tours, book], watching(), planning=True)
    run = await bench.work(await bench.start("Book the seal tour."))
    assert text_of(run.output) == "It is booked."
    assert bench.model.requests[2].tool_choice == NamedToolChoice(function=NamedFunction(name="list_tours"))


async def test_a_guess_that_the_list_bears_out_needs_no_person(make_bench: Callable[..., Any]) -> None:
    """No tool got the first call, so the list can't repeat what the model wrote there."""
    bench = make_bench([BOOK, LIST, BOOK, text("It is booked.")], [list_tours, book], watching())
    run = await bench.work(await bench.start("Book the seal tour."))
    assert text_of(run.output) == "It is booked."


def test_of_several_the_one_about_the_missing_argument_is_read() -> None:
    toolbox = registry(list_tours, list_piers, book)
    names = ["book", "list_piers", "list_tours"]
    assert overview(toolbox, names, ["tour_id"]) == "list_tours"
    assert overview(toolbox, names, ["pier_id"]) == "list_piers"
    assert overview(toolbox, names, ["name"]) is None


def test_a_list_that_strangers_write_is_none() -> None:
    @tool(effect="pure", returns_untrusted=True)
    def list_reviews() -> str:
        """Lists the reviews."""
        return ""

    assert overview(registry(list_reviews, book), ["list_reviews", "book"]) is None


@pytest.mark.parametrize(
    ("arguments", "said", "taken"),
    [
        ({"box_id": 3, "count": 3}, ["3 boxes, please"], ["box_id"]),
        ({"box_id": 3, "count": 3}, ["three boxes, please"], ["box_id"]),
        ({"box_id": 4058, "postcode": "4058"}, ["It is 4058", "A box, please"], ["box_id"]),
        ({"box_id": 1, "count": 1}, ["A box, please"], ["box_id"]),  # it is said nowhere
        ({"id": "7", "seats": 7}, ["7"], ["id"]),
        ({"box_id": 3, "count": 3}, ["3 of box 3"], []),
        ({"box_id": 3, "count": 3}, ["three", "Box 3, please"], []),
        ({"box_id": 3, "count": 2}, ["2 boxes"], []),
        ({"seats": 2, "nights": 2}, ["2 of us"], []),  # neither identifies anything
        ({"box_id": True, "gift": True}, ["yes"], []),
        ({"box_id": "red", "colour": "red"}, ["red"], []),
        ({"box_id": 13, "count": 1, "postcode": "4058"}, ["One, to 4058"], []),
    ],
)
def test_a_number_that_was_said_once_is_meant_for_one_argument(arguments: Any, said: Any, taken: Any) -> None:
    assert taken_twice(arguments, said) == taken


@tool(effect="keyed")
def book_seats(tour_id: int, seats: int) -> str:
    """Books seats."""
    return f"booked {seats} of {tour_id}"


async def test_it_comes_after_a_call_that_takes_a_number_twice(make_bench: Callable[..., Any]) -> None:
    twice, right = calls(("book_seats", {"tour_id": 2, "seats": 2})), calls(("book_seats", {"tour_id": 33, "seats": 2}))
    bench = make_bench([twice, LIST, right, text("It is booked.")], [list_tours, book_seats])
    run = await bench.work(await bench.start("2 seats on the seal tour, please."))
    assert text_of(run.output) == "It is booked."
    forced = NamedToolChoice(function=NamedFunction(name="list_tours"))
    assert [request.tool_choice for request in bench.model.requests] == ["auto", forced, "auto", "auto"]
    made = [one for one in await bench.events(run) if isinstance(one, ToolIntent)]
    assert [(one.tool, one.arguments) for one in made][1:] == [("book_seats", {"tour_id": 33, "seats": 2})]


@pytest.mark.parametrize("tools", [[list_tours, book_seats], [book_seats]])
async def test_a_model_that_insists_has_its_way(make_bench: Callable[..., Any], tools: list[Any]) -> None:
    """The number may be right: the first tour has the number 2, or there is no list to read."""
    twice = calls(("book_seats", {"tour_id": 2, "seats": 2}))
    script = [twice, LIST, twice] if len(tools) == 2 else [twice]
    bench = make_bench([*script, text("It is booked.")], tools)
    run = await bench.work(await bench.start("2 seats, please."))
    assert (text_of(run.output), len(bench.model.requests)) == ("It is booked.", len(script) + 1)
