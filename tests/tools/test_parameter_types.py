"""Type hints of parameters: what a model may give for each, and what the function gets (docs/tools.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from flightloop.tool import Tool, ToolContext, tool, tool_of
from tools.registry import Registry
from tools.serving import Server, context_to_json

PAGE = Path(__file__).parents[2] / "docs" / "tools.md"
CONTEXT = ToolContext("run:1:0", "default", "desk", "session", "run", Path())


class Kind(Enum):
    BISQUE = "bisque"
    GLAZE = "glaze"


class Address(BaseModel):
    street: str
    city: str = "Berlin"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Item(TypedDict):
    sku: str
    count: int


def declared(hint: Any) -> tuple[Registry, list[Any]]:
    """A tool with a parameter ``value`` of the type, and the list of what it gets."""
    got: list[Any] = []

    def take(value: Any) -> None:
        """Takes a value."""
        got.append(value)

    take.__annotations__["value"] = hint
    made = tool_of(tool(effect="pure")(take))
    assert isinstance(made, Tool)
    return Registry([made]), got


def answered(registry: Registry, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the tool's process answers to a call that the schema has let through."""
    assert registry.problems(name, arguments) == []
    form = registry.canonical(name, arguments)
    request = {"call": "c", "tool": name, "arguments": form, "context": context_to_json(CONTEXT)}
    return Server(registry, 65_536).answer(request)


@pytest.mark.parametrize(
    ("hint", "given", "got"),
    [
        (str, "a", "a"),
        (int, 5, 5),
        (int, 5.0, 5),
        (float, 2, 2.0),
        (bool, True, True),
        (Literal["any", "glaze"], "glaze", "glaze"),
        (Kind, "glaze", Kind.GLAZE),
        (int | None, None, None),
        (list[str], ["a"], ["a"]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (date, "2026-05-03", date(2026, 5, 3)),
        (datetime, "2026-05-03T10:00:00Z", datetime(2026, 5, 3, 10, tzinfo=UTC)),
        (Decimal, "1.50", Decimal("1.50")),
        (Decimal, 1.5, Decimal("1.5")),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (Address, {"street": "Elm 1"}, Address(street="Elm 1")),
        (Point, {"x": 1}, Point(1.0)),
        (Item, {"sku": "a", "count": 2}, {"sku": "a", "count": 2}),
        (Annotated[int, Field(ge=1, le=9)], 9, 9),
    ],
)
def test_a_function_gets_a_value_of_its_type(hint: Any, given: Any, got: Any) -> None:
    registry, taken = declared(hint)
    assert answered(registry, "take", {"value": given})["ok"]
    assert taken == [got]
    assert type(taken[0]) is type(got)


@pytest.mark.parametrize(
    ("hint", "given", "said"),
    [
        (int, "5", "value must be a whole number, not '5'"),
        (int, 5.5, "value must be a whole number, not 5.5"),
        (str, 5, "value must be a text, not 5"),
        (bool, "yes", "value must be true or false, not 'yes'"),
        (Literal["any", "glaze"], "Any", "value must be one of any, glaze, not 'Any'"),
        (Kind, "GLAZE", "value must be one of bisque, glaze, not 'GLAZE'"),
        (date, "tomorrow", "value must be a valid date, not 'tomorrow'"),
        (list[str], "a", "value must be a list, not 'a'"),
        (Address, {"street": 1}, "value.street must be a text, not 1"),
        (Annotated[int, Field(ge=1, le=9)], 10, "value must be at most 9, not 10"),
    ],
)
def test_a_value_of_another_type_is_refused_before_the_call(hint: Any, given: Any, said: str) -> None:
    registry, taken = declared(hint)
    assert registry.problems("take", {"value": given}) == [said]
    assert taken == []


@pytest.mark.parametrize(("hint", "given"), [(datetime, "soon"), (Decimal, "x")])
def test_what_a_schema_cannot_tell_is_refused_in_the_tools_process(hint: Any, given: Any) -> None:
    registry, taken = declared(hint)
    answer = answered(registry, "take", {"value": given})
    assert (answer["ok"], answer["raised"], taken) == (False, False, [])
    assert answer["error"].startswith("value: Input should be a valid")


def no_hint(value) -> None:  # type: ignore[no-untyped-def]
    """Takes a value."""


def many(*values: int) -> None:
    """Takes values."""


def named(**values: int) -> None:
    """Takes values."""


def by_place(value: int, /) -> None:
    """Takes a value."""


class Unknown:
    pass


def foreign(count: int, value: Unknown) -> None:
    """Takes a value."""


def back(value: Callable[[], int]) -> None:
    """Takes a function."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (foreign, r"foreign: parameter value: its type has no JSON Schema \(Unable to .*Unknown'>\)"),
        (back, r"back: parameter value: its type has no JSON Schema \(.*\)"),
        (no_hint, "no_hint: parameter value needs a type hint"),
        (many, r"many: parameter \*values: .* the model gives arguments by name"),
        (named, r"named: parameter \*\*values: .* the model gives arguments by name"),
        (by_place, "by_place: parameter value: .* the model gives arguments by name"),
    ],
)
def test_a_parameter_that_a_model_cannot_give_is_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        tool(effect="pure")(function)


def test_the_example_of_the_page_has_the_schema_of_the_page(tmp_path: Path) -> None:
    section = PAGE.read_text().split("### Types of parameters")[1]
    source, schema = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)[:2]
    (tmp_path / "tools.py").write_text(source)
    [spec] = Registry.load([tmp_path / "tools.py"]).specs()
    assert spec.parameters == json.loads(schema)
    assert spec.description == "List the coming firings of the kilns."
