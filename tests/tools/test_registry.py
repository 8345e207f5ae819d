from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from flightloop.errors import ConfigError, NotFound
from flightloop.tool import ToolContext, tool, tool_of
from tools.registry import Registry


@tool(effect="pure")
def book(
    nights: Annotated[int, Field(ge=1, le=30)],
    room: Literal["single", "double"],
    guests: Annotated[list[str], Field(max_length=2)] = [],  # noqa: B006
    note: str | None = None,
) -> str:
    """Books a room."""
    return f"{nights} {room} {guests} {note}"


def registry() -> Registry:
    declared = tool_of(book)
    assert declared is not None
    return Registry([declared])


GOOD = {"nights": 2, "room": "single"}


def test_a_pause_of_the_whole_process_is_no_fault_of_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A garbage collection counts as processor time of the thread that it happens in."""
    tools, times = registry(), chain([0.0], repeat(1.0))
    monkeypatch.setattr("tools.validation.time.thread_time", lambda: next(times))
    assert tools.problems("book", GOOD) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (GOOD, []),
        ({"room": "single"}, ["nights is missing: give a whole number"]),
        ({"nights": 2}, ["room is missing: give one of single, double"]),
        ({}, ["nights is missing: give a whole number; room is missing: give one of single, double"]),
        ({**GOOD, "nights": "two"}, ["nights must be a whole number, not 'two'"]),
        ({**GOOD, "nights": 0}, ["nights must be at least 1, not 0"]),
        ({**GOOD, "nights": 31}, ["nights must be at most 30, not 31"]),
        ({**GOOD, "room": "suite"}, ["room must be one of single, double, not 'suite'"]),
        ({**GOOD, "note": 5}, ["note must be a text or null, not 5"]),
        ({**GOOD, "guests": ["a", 1]}, ["guests.1 must be a text, not 1"]),
        ({**GOOD, "guests": ["a", "b", "c"]}, ["guests must be a list of at most 2 items, not ['a', 'b', 'c']"]),
        ({**GOOD, "sea_view": True}, ["sea_view is unknown: use only nights, room, guests, note"]),
    ],
)
def test_problems_are_told_in_plain_words(arguments: dict[str, Any], said: list[str]) -> None:
    assert registry().problems("book", arguments) == said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["nights", "room", "guests", "note", "x"]), VALUES))
def test_problems_are_told_exactly_when_the_schema_is_broken(arguments: dict[str, Any]) -> None:
    made = registry()
    valid = Draft202012Validator(made.get("book").parameters).is_valid(arguments)
    problems = made.problems("book", arguments)
    assert (problems == []) == valid
    assert all(len(problem) < 400 for problem in problems)


def test_unknown_tools_are_told_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="no tool is named 'fly'; known tools: book"):
        registry().get("fly")
    with pytest.raises(NotFound):
        registry().problems("fly", {})
    with pytest.raises(NotFound):
        registry().definitions(["book", "fly"])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two tools are named find_customer"):
        Registry.load(["examples.support.tools", "examples.support.tools"])


def test_definitions_keep_the_order_asked_for() -> None:
    made = Registry.load(["examples.support.tools", "tools.builtin"])
    names = ["query_sql", "cancel_order"]
    assert [definition.function.name for definition in made.definitions(names)] == names
    assert "cancel_order" in made
    assert "fly" not in made


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "tools.py"
    source = "from flightloop.tool import tool\n@tool\ndef {name}() -> int:\n    'Does it.'\n    return 1\n"
    path.write_text(source.format(name="first"))
    assert [spec.name for spec in Registry.load([path]).specs()] == ["first"]
    path.write_text(source.format(name="second_one"))
    assert [spec.name for spec in Registry.load([str(path)]).specs()] == ["second_one"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no database')", "RuntimeError: no database"),
        ("def f(", "SyntaxError"),
        ("x = 1", "has no @tool function"),
        ("def f(): pass\nTOOLS = (f,)", "which lacks @tool"),
    ],
)
def test_a_file_that_is_no_good_is_told_by_name(source: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.py"
    path.write_text(source)
    with pytest.raises(ConfigError, match=said) as caught:
        Registry.load([path])
    assert str(path) in str(caught.value)


def test_a_missing_module_is_told_by_name() -> None:
    with pytest.raises(ConfigError, match=r"tools of tools\.nothing can't be loaded"):
        Registry.load(["tools.nothing"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"effect": "keyd"},
            "note: no effect is named 'keyd'; did you mean keyed? known: pure, keyed, transactional, unsafe",
        ),
        ({"effect": "7"}, "note: no effect is named '7'; known: pure, keyed, transactional, unsafe"),
        (
            {"permissions": ("netwrk",)},
            "note: no permission is named 'netwrk'; did you mean network? known: network, files, subprocess",
        ),
    ],
)
def test_a_wrong_word_of_a_declaration_is_told_with_the_right_ones(given: dict[str, Any], said: str) -> None:
    def note() -> None:
        """Keeps a note."""

    with pytest.raises(ValueError, match=r"no (effect|permission) is named") as wrong:
        tool(**given)(note)
    assert str(wrong.value) == said


@pytest.mark.parametrize("hint", [ToolContext | None, Annotated[ToolContext, "mine"], list[ToolContext]])
def test_a_context_that_the_model_would_be_asked_for_is_refused(hint: Any) -> None:
    def whose(context: Any) -> str:
        """Tells whose call it is."""
        return ""

    whose.__annotations__["context"] = hint
    with pytest.raises(TypeError, match="must be just ToolContext"):
        tool(effect="pure")(whose)
