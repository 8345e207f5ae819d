"""Calls with a value that the user's words contradict are held back once, and made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.loop.misread import misread
from agent.models.answer_chunks import calls, text
from flightloop.chat import NamedFunction, NamedToolChoice
from flightloop.content import text_of
from flightloop.tool import tool

TOURS = [
    {"tour_id": 31, "title": "Seal tour", "day": "Saturday"},
    {"tour_id": 32, "title": "Lighthouse tour", "day": "Friday"},
]


@pytest.mark.parametrize(
    ("arguments", "said", "told"),
    [
        ({"places": 1}, "I'd like three places for the children.", "places is 3"),
        ({"places": 3}, "I'd like three places for the children.", None),
        ({"places": 1}, "Two places, no, three places please.", None),  # which of the two?
        ({"places": 1}, "Is there a place for us two? Places are nice.", None),
        ({"places": 1}, "Two days ago I asked for a place.", None),
        ({"nights": 2}, "5 nights from 18 December", "nights is 5"),
        ({"party_size": 2}, "We are five.", None),
        ({"time": "16:00"}, "On Friday at 6 pm, please.", "time is 18:00"),
        ({"time": "18:00"}, "On Friday at 6 pm, please.", None),
        ({"time": "16:00"}, "On Friday at 6, please.", None),  # in the morning or in the evening
        ({"time": "16:00"}, "Move it from 6 pm to 8 pm.", None),
        ({"note": "later"}, "At 6 pm.", None),
        ({"tour_id": 31}, "The lighthouse tour, please.", "tour id is 32"),
        ({"tour_id": 31}, "Tour 31, not the lighthouse one.", None),
        ({"tour_id": 31}, "A tour, please.", None),
        ({"tour_id": 77}, "The lighthouse tour, please.", None),
        ({"gift": True, "none": None, "list": [1]}, "Three gift, one list", None),
    ],
)
def test_which_values_are(arguments: dict[str, Any], said: str, told: str | None) -> None:
    expected = None if told is None else f"not done yet: by the user's words, {told}"
    assert misread(arguments, [said], [TOURS]) == expected


@tool(effect="pure", returns_untrusted=False)
def list_tours() -> list[dict[str, Any]]:
    """Lists the tours."""
    return TOURS


@tool(effect="keyed", returns_untrusted=False)
def book(tour_id: int, seats: int = 1) -> str:
    """Books seats."""
    return f"booked {seats} on {tour_id}"


ASKED = "Two seats on the lighthouse tour, please."


async def test_such_a_call_is_made_again(make_bench: Callable[..., Any]) -> None:
    answers = [calls(("book", {"tour_id": 32, "seats": seats})) for seats in (1, 2)]
    bench = make_bench([calls(("list_tours", {})), *answers, text("Booked.")], [list_tours, book])
    run = await bench.work(await bench.start(ASKED))
    assert text_of(run.output) == "Booked."
    assert bench.model.requests[2].tool_choice == NamedToolChoice(function=NamedFunction(name="book"))
    told = [one.text for one in bench.model.requests[3].messages if one.role == "tool"]
    assert told[1:] == ["error: not done yet: by the user's words, seats is 2", "booked 2 on 32"]


async def test_a_model_that_insists_has_its_way(make_bench: Callable[..., Any]) -> None:
    insists = calls(("book", {"tour_id": 31, "seats": 2}))
    bench = make_bench([calls(("list_tours", {})), insists, insists, text("Booked.")], [list_tours, book])
    await bench.work(await bench.start(ASKED))
    told = [one.text for one in bench.model.requests[3].messages if one.role == "tool"]
    assert told[1:] == ["error: not done yet: by the user's words, tour id is 32", "booked 2 on 31"]
