"""A call is the same under an alias, and beside what a default makes anew for each one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, PlainValidator, StringConstraints, WithJsonSchema

from flightloop.tool import Effect, ToolContext, tool, tool_of
from tools.canonical import canonical
from tools.identity import identity
from tools.mcp.pins import Pin, pinned_tools, write_pins
from tools.mcp.servers import Server
from tools.registry import Registry, performed_elsewhere
from tools.validated import known_by

CONTEXT = ToolContext("run:0:0", "default", "desk", "session", "run", Path("/data"))


class Line(BaseModel):
    id: UUID = Field(default_factory=uuid4)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    sku: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)]
    count: int


@tool(effect="keyed")
def order_lines(lines: list[Line]) -> None:
    """Orders some goods."""


@tool(effect="keyed")
def send_to(
    to: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True), Field(alias="recipient")],
    amount: Decimal,
) -> None:
    """Sends money."""


class Opaque:
    """Nothing that is written of it tells two apart."""


@tool(effect="keyed")
def send_by(
    to: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True), Field(alias="recipient")],
    way: Annotated[Any, PlainValidator(lambda value: Opaque()), WithJsonSchema({"type": "string"}), Field(alias="by")],
) -> None:
    """Sends money in some way."""


@pytest.mark.parametrize(
    ("function", "one", "same", "other"),
    [
        (
            order_lines,
            {"lines": [{"sku": "a1", "count": 1}]},
            {"lines": [{"sku": " A1 ", "count": 1}]},
            {"lines": [{"sku": "a2", "count": 1}]},
        ),
        (
            send_to,
            {"recipient": "bob", "amount": "5"},
            {"recipient": " BOB", "amount": "5.0"},
            {"recipient": "ann", "amount": "5"},
        ),
        (
            send_by,
            {"recipient": "bob", "by": "post"},
            {"recipient": " BOB", "by": "post"},
            {"recipient": "ann", "by": "post"},
        ),
    ],
)
def test_what_is_made_for_a_call_and_what_it_is_called_with_do_not_tell_calls_apart(
    function: Any, one: dict[str, Any], same: dict[str, Any], other: dict[str, Any]
) -> None:
    declared = tool_of(function)
    forms = [known_by(declared, one_call, CONTEXT, 65536) for one_call in (one, same, other)]
    assert forms[0] == forms[1] != forms[2]
    assert forms[0] is not None


SHAPES = {
    "properties": {
        "where": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "floor": {"type": "integer", "default": 0}},
                },
                {"type": "object", "properties": {"box": {"type": "string"}, "country": {"default": "DE"}}},
            ]
        }
    }
}


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"city": "Bonn"}, {"city": "Bonn", "floor": 0}),
        ({"box": "7"}, {"box": "7", "country": "DE"}),
    ],
)
def test_a_default_of_one_of_several_kinds_of_object_counts_as_left_out(short: Any, long: Any) -> None:
    forms = [identity(canonical({"where": where}, SHAPES), SHAPES) for where in (short, long, {**long, "floor": 3})]
    assert forms[0] == forms[1] != forms[2]


def test_defaults_of_a_schema_that_refers_to_itself_end() -> None:
    node: dict[str, Any] = {
        "anyOf": [{"properties": {"a": {"$ref": "#/$defs/N"}, "b": {"$ref": "#/$defs/N"}}}, {"properties": {"c": {}}}],
        "default": {"a": {"b": {}}, "b": {"a": {}}},
    }
    schema = {"properties": {"n": {"$ref": "#/$defs/N"}}, "$defs": {"N": node}}
    value: Any = {}
    for _ in range(20):
        value = {"a": value, "b": {}}
    assert identity({"n": value}, schema)


OPEN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "cents": {"type": "integer"},
        "memo": {"type": ["string", "null"]},
        "to": {"type": "object", "properties": {"iban": {"type": "string"}}, "required": ["iban"]},
    },
    "required": ["cents"],
}


@pytest.mark.parametrize(
    "other",
    [
        {"cents": 5, "x": 1},
        {"cents": 5, "memo": None},
        {"cents": 5, "to": {"iban": "A", "x": 1}},
        {"cents": 5, "to": {"iban": "A", "x": {"y": []}}, "memo": None},
    ],
)
def test_what_a_schema_does_not_name_and_an_optional_null_make_no_other_call(other: dict[str, Any]) -> None:
    plain = {"cents": 5, "to": {"iban": "A"}} if "to" in other else {"cents": 5}
    forms = [identity(canonical(one, OPEN_SCHEMA), OPEN_SCHEMA) for one in (plain, other, {**plain, "memo": "a"})]
    assert forms[0] == forms[1] != forms[2]


@pytest.mark.parametrize("keyword", ["additionalProperties", "patternProperties"])
def test_what_a_schema_allows_beyond_its_properties_makes_another_call(keyword: str) -> None:
    schema = {"properties": {"cents": {}}, keyword: {"type": "integer"} if keyword[0] == "a" else {"x": {}}}
    assert identity({"cents": 5, "x": 1}, schema) != identity({"cents": 5, "x": 2}, schema)


def test_a_required_null_is_a_value() -> None:
    schema = {"properties": {"memo": {}}, "required": ["memo"]}
    assert identity({"memo": None}, schema) == {"memo": None}


def test_a_pinned_tool_refuses_arguments_that_its_schema_does_not_name(tmp_path: Path) -> None:
    """Most servers ignore them, so a model could make one call twice by adding some."""
    open_, closed = OPEN_SCHEMA, {**OPEN_SCHEMA, "additionalProperties": {"type": "string"}}
    write_pins(tmp_path, {"bank": {"pay": Pin("Pays.", open_), "tag": Pin("Tags.", closed)}})
    servers = {"bank": Server(url="https://bank.example/mcp", tools={"pay": Effect.KEYED, "tag": Effect.KEYED})}
    pay, tag = pinned_tools(tmp_path, servers)
    assert pay.spec.parameters == {**open_, "additionalProperties": False}
    assert (tag.spec.parameters, pay.pin.parameters) == (closed, open_)
    registry = Registry([performed_elsewhere(pay.spec)])
    assert registry.problems("bank_pay", {"cents": 5, "x": 1}) != []
    assert registry.problems("bank_pay", {"cents": 5}) == []


def test_a_servers_default_that_does_not_fit_is_unknown(tmp_path: Path) -> None:
    """A rule about the argument then requires it, and the defaults that fit are filled in."""
    amount, to = {"type": "number", "default": None}, {"type": "string", "default": "us"}
    schema = {"type": "object", "properties": {"amount": amount, "to": to}}
    write_pins(tmp_path, {"bank": {"pay": Pin("Pays.", schema)}})
    (pay,) = pinned_tools(tmp_path, {"bank": Server(url="https://bank.example/mcp", tools={"pay": Effect.KEYED})})
    assert pay.spec.parameters["properties"] == {"amount": {"type": "number"}, "to": to}
    assert pay.pin.parameters == schema
    registry = Registry([performed_elsewhere(pay.spec)])
    assert registry.canonical("bank_pay", {}) == {"to": "us"}
