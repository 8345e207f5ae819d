"""Which rows of a list the user's words name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from agent.loop.named_rows import MOST_CHARACTERS, MOST_ROWS, has_text, named_first, rather, rows_of
from agent.models.answer_chunks import calls, text
from flightloop.events import ToolResult
from flightloop.tool import tool

COURSES = [
    {"id": 71, "title": "Beginners", "day": "Monday"},
    {"id": 72, "title": "Bouldering", "day": "Tuesday"},
    {"id": 73, "title": "Lead climbing", "day": "Thursday"},
    {"id": 74, "title": "Children", "day": "Monday"},
]
DOGS = [{"狗": "豆豆", "主人": "王芳"}, {"狗": "可乐", "主人": "李明"}]


def ids(content: Any) -> list[int]:
    return [row["id"] for row in content]


@pytest.mark.parametrize(
    ("said", "order"),
    [
        (["On which day is lead climbing?"], [73, 71, 72, 74]),
        (["Is there anything on Monday?"], [71, 74, 72, 73]),
        (["The children's course on Monday, please."], [74, 71, 72, 73]),
        (["What courses do you have?"], [71, 72, 73, 74]),
        (["My name is Moss.", "A place in bouldering, please."], [72, 71, 73, 74]),
        (["And lead climbing?", "When is bouldering?"], [73, 71, 72, 74]),
        (["Course 72, please."], [72, 71, 73, 74]),
    ],
)
def test_rows_that_are_named_come_first(said: list[str], order: list[int]) -> None:
    assert ids(named_first(COURSES, said)) == order
    assert ids(named_first({"courses": COURSES, "count": 4}, said)["courses"]) == order


def test_chinese_names_count() -> None:
    assert named_first(DOGS, ["可乐的主人是谁？"])[0]["狗"] == "可乐"


@pytest.mark.parametrize(
    "content",
    [None, "Monday", 3, [], ["Monday", "Tuesday"], {"a": [1], "b": [2]}, [{"day": "Monday"}], [{"day": "x"}, "Monday"]],
)
def test_what_is_no_list_of_rows_stays(content: Any) -> None:
    assert named_first(content, ["Monday"]) == content
    assert rows_of(content) == []


def test_a_long_list_stays_and_a_long_message_names_nothing() -> None:
    assert named_first(COURSES, ["Lead climbing " * MOST_CHARACTERS]) == COURSES
    wide = [{"id": 1, "text": "x" * MOST_CHARACTERS}, {"id": 2, "text": "Sunday"}]
    assert named_first(wide, ["Sunday"]) == wide
    long = [{"id": at, "day": "Sunday" if at == MOST_ROWS else "Monday"} for at in range(MOST_ROWS + 1)]
    assert named_first(long, ["Sunday"]) == long


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=4), below, max_size=4),
    max_leaves=12,
)


ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=6)


@given(ROWS, st.lists(st.text(max_size=20)))
def test_nothing_is_lost_and_a_second_time_changes_nothing(rows: list[dict[str, Any]], said: list[str]) -> None:
    once = named_first(rows, said)
    assert sorted(map(repr, once)) == sorted(map(repr, rows))
    assert named_first(once, said) == once
    if rows_of(rows):
        assert rather(1, "a", rows_of(rows), said) in (True, False)


@pytest.mark.parametrize(
    ("chosen", "said", "expected"),
    [
        (71, "The children's course on Monday, please.", True),  # Monday is the beginners' day too
        (74, "The children's course on Monday, please.", False),
        (72, "The children's course on Monday, please.", True),
        (72, "Bouldering or lead climbing?", False),  # each has a word of its own
        (71, "On Monday, please.", False),  # so is the children's
        (72, "On Monday, please.", False),  # two rows are named equally
        (72, "Hello!", False),
        (99, "Lead climbing, please.", False),  # no row
    ],
)
def test_a_row_that_is_named_better_than_the_chosen_one(chosen: int, said: str, expected: bool) -> None:
    assert rather(chosen, "id", COURSES, [said]) is expected


def test_a_field_that_does_not_tell_rows_apart_chooses_none() -> None:
    assert not rather("Tuesday", "day", COURSES, ["Lead climbing, please."])
    assert not rather(72, "course", COURSES, ["Lead climbing, please."])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{}", False),
        ('{"customer_id": 17, "day": ""}', False),
        ('{"query": "returns"}', True),
        ("[1]", True),
        ("{", True),
    ],
)
def test_a_search_is_told_by_a_text_among_its_arguments(arguments: str, expected: bool) -> None:
    assert has_text(arguments) is expected


@tool(effect="pure", returns_untrusted=False)
def list_courses() -> list[dict[str, Any]]:
    """Lists the courses."""
    return COURSES


@tool(effect="pure", returns_untrusted=False)
def search(query: str) -> list[dict[str, Any]]:
    """Searches the courses."""
    return COURSES


async def test_the_model_reads_them_first_and_the_journal_keeps_the_order(make_bench: Callable[..., Any]) -> None:
    script = [calls(("list_courses", {}), ("search", {"query": "climbing"})), text("On Thursday.")]
    bench = make_bench(script, [list_courses, search])
    run = await bench.work(await bench.start("On which day is lead climbing?"))
    read = [from_json(one.text) for one in bench.model.requests[1].messages if one.role == "tool"]
    assert [ids(one) for one in read] == [[73, 71, 72, 74], [71, 72, 73, 74]]
    written = [ids(event.content) for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert written == [[71, 72, 73, 74]] * 2
