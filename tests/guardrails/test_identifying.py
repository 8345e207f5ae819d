"""Which values of a call identify something, below the first level and through references too."""

from __future__ import annotations

from typing import Any

import pytest

from flightloop.tool import Effect, ToolSpec
from guardrails.evidence.acts import changes_something
from guardrails.evidence.identifying import leaves
from guardrails.evidence.schemas import Schemas

LEVEL = {"enum": [1, 2], "type": "integer"}
NODE = {"$ref": "#/$defs/Node"}
SCHEMA = {
    "type": "object",
    "properties": {
        "level": {"$ref": "#/$defs/Level"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/Level"}, {"type": "null"}]},
        "way": {"type": "object", "properties": {"speed": {"allOf": [{"$ref": "#/$defs/Level"}], "default": 9}}},
        "counts": {"type": "object", "propertyNames": {"enum": ["a1"]}, "additionalProperties": LEVEL},
        "node": NODE,
        "gone": {"$ref": "#/$defs/Gone"},
        "size": {"type": "object", "properties": {"w2": {"type": "string"}}},
    },
    "$defs": {"Level": LEVEL, "Node": {"anyOf": [NODE, NODE, {"properties": {"next": NODE}}]}},
}
SPEC = ToolSpec("act", "Acts.", SCHEMA, Effect.KEYED)


def asked_about(arguments: dict[str, Any]) -> list[str]:
    return [f"{one.path}={one.value}" for one in leaves(SPEC, arguments) if one.identifying and not one.chosen]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"address": {"street": "Hill Road", "line1": "x"}}, ["address.street=Hill Road", "address.line1=x"]),
        ({"to": [{"name": "Eve Adler"}]}, ["to[0].name=Eve Adler"]),
        ({"items": {"SKU-9": "two"}}, ["items.SKU-9=SKU-9"]),
        ({"beneficiary": "Eve", "destination": "Hill Road"}, ["beneficiary=Eve", "destination=Hill Road"]),
        ({"note": {"text": "as agreed", "line2": "and done"}}, []),
        ({"level": 2, "maybe": 1, "way": {"speed": 2}, "counts": {"a1": 2}, "size": {"w2": "wide"}}, []),
        ({"level": 3, "way": {"speed": 9}, "counts": {"b2": 2}}, ["level=3", "counts.b2=b2"]),
        ({"node": {"next": {"next": {"text": "x"}}}, "gone": 4}, ["gone=4"]),
    ],
)
def test_which_values_are_asked_about(arguments: dict[str, Any], found: list[str]) -> None:
    assert asked_about(arguments) == found


def test_no_arithmetic_yields_an_identifier_in_parts() -> None:
    (leaf,) = leaves(SPEC, {"account": {"digits": 5}})
    assert not leaf.composable


@pytest.mark.parametrize(
    ("name", "description", "writes"),
    [
        ("get_order", "Gets an order.", False),
        ("find_book", "Finds books by title or author.", False),
        ("list_transfers", "Lists all transfers of an account.", False),
        ("check_status", "Checks the status of an order.", False),
        ("lookup", "Looks a customer up by e-mail.", False),
        ("give_credit", "Gives a credit.", True),
        ("give_refund", "", True),
        ("tell_bank", "Tells the bank.", True),
        ("return_order", "Returns an order.", True),
        ("check_out", "Checks out.", True),
        ("convert_currency", "Converts money.", True),
        ("fetch_money", "Fetches money.", True),
        ("get_or_create_user", "Gets a user.", True),
        ("get_order", "Gets an order and refunds it.", True),
        ("read_inbox", "Reads mails, then deletes them.", True),
        ("act", "", True),
    ],
)
def test_a_tool_without_an_effect_reads_only_if_its_words_are_clear(name: str, description: str, writes: bool) -> None:
    assert changes_something(ToolSpec(name, description, {"type": "object"}, Effect.UNSAFE)) == writes
    assert not changes_something(ToolSpec(name, description, {"type": "object"}, Effect.PURE))


def test_a_reference_may_name_an_alternative() -> None:
    address = {"anyOf": [{"type": "null"}, {"type": "string", "format": "uri"}]}
    schema = {"properties": {"home": address, "work": {"$ref": "#/properties/home/anyOf/1"}}}
    assert Schemas.of(schema).at("work").formats == {"uri"}
