"""Tools whose schemas say more than a grammar can."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from flightloop.chat import ChatRequest
from flightloop.errors import InternalError, InvalidRequest
from model.chat.compact import call_text
from model.engine.grammar import grammar_for
from model.engine.loosening import Looseness, loosened
from model.engine.vocabulary import Vocabulary
from model.weights.tiny import embedded_tokenizer

VOCABULARY = Vocabulary(embedded_tokenizer(), 49_152)
NAMED = {"kind": {"enum": ["card", "bank"]}, "iban": {"type": "string"}}

# Schema of x, a value that it allows, and one that only the left out part forbids.
BEYOND: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "uniqueItems": ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 2], [1, 1]),
    "not": ({"type": "string", "not": {"const": "no"}}, "yes", "no"),
    "only not": ({"not": {"type": "string"}}, 1, "no"),
    "if": (
        {"type": "object", "properties": NAMED, "required": ["kind"], "if": {"properties": {"kind": {"const": "bank"}}},
         "then": {"required": ["iban"]}},
        {"kind": "bank", "iban": "DE1"},
        {"kind": "bank"},
    ),
    "a branch's own property": (
        {"type": "object", "properties": {"kind": {"type": "string"}}, "if": {"required": ["kind"]},
         "then": {"properties": {"more": {"type": "integer"}}, "required": ["more"]}},
        {"kind": "a", "more": 3},
        {"kind": "a"},
    ),
    "if within allOf": (
        {"type": "object", "properties": NAMED,
         "allOf": [{"if": {"required": ["kind"]}, "then": {"required": ["iban"]}}]},
        {"kind": "card", "iban": "DE1"},
        {"kind": "card"},
    ),
    "not within anyOf": (
        {"type": "object", "properties": NAMED, "anyOf": [{"not": {"required": ["kind"]}}, {"required": ["iban"]}]},
        {"iban": "DE1"},
        {"kind": "card"},
    ),
    "contains": ({"type": "array", "items": {"type": "integer"}, "contains": {"const": 1}}, [1, 2], [2]),
    "dependentRequired": (
        {"type": "object", "properties": NAMED, "dependentRequired": {"kind": ["iban"]}},
        {"iban": "a"},
        {"kind": "card"},
    ),
    "oneOf": ({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "integer", "maximum": 5}]}, 7, 3),
    "lookahead": ({"type": "string", "pattern": "^(?!no)[a-z]+$"}, "yes", "no"),
    "names of properties": (
        {"type": "object", "patternProperties": {"^(?!x)": {"type": "integer"}}, "additionalProperties": False},
        {"a": 1},
        {"x": 1},
    ),
    "a reference into it": (
        {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/n"}}}},
        {"a": [1, 2]},
        {"a": [1, 1]},
    ),
}  # fmt: skip


def request(schema: dict[str, Any], strict: bool | None) -> ChatRequest:
    parameters = {
        "type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {"n": {"type": "integer"}}
    }  # fmt: skip
    function = {"name": "f", "parameters": parameters, "strict": strict}
    return ChatRequest.model_validate(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required",
        }
    )


def accepts(grammar: str, value: Any) -> bool:
    matcher = VOCABULARY.grammars.matcher(grammar)
    try:
        for token in VOCABULARY.tokenizer.encode(call_text([("f", {"x": value})])):
            matcher.advance(token)
    except InternalError:
        return False
    return True


@pytest.mark.parametrize("strict", [None, False])
@pytest.mark.parametrize("name", BEYOND)
def test_a_tool_that_is_not_strict_gets_a_looser_grammar(name: str, strict: bool | None) -> None:
    schema, good, bad = BEYOND[name]
    checked = Draft202012Validator({**schema, "$defs": {"n": {"type": "integer"}}})
    assert checked.is_valid(good)
    assert not checked.is_valid(bad)
    grammar = grammar_for(request(schema, strict))
    assert grammar is not None
    assert accepts(grammar, good), json.dumps(schema)
    assert accepts(grammar, bad)


@pytest.mark.parametrize("name", BEYOND)
def test_a_strict_tool_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"tools\[0\]\.function\.parameters"):
        grammar_for(request(BEYOND[name][0], strict=True))


def test_the_rest_of_the_schema_is_enforced() -> None:
    schema = {"type": "array", "items": {"type": "integer", "minimum": 3}, "maxItems": 2, "uniqueItems": True}
    grammar = grammar_for(request(schema, None))
    assert grammar is not None
    assert [accepts(grammar, value) for value in ([3, 4], [2], [3, 4, 5], ["3"])] == [True, False, False, False]


def test_what_a_grammar_expresses_is_left_alone() -> None:
    plain = {"type": "object", "properties": {"not": {"type": "string"}}, "allOf": [{"required": ["not"]}]}
    for looseness in Looseness:
        assert loosened(plain, looseness) == plain
    assert loosened({"const": {"not": 1}, "not": {}}, Looseness.KEYWORDS) == {"const": {"not": 1}}


def test_a_schema_that_nothing_satisfies_is_refused_with_its_own_reason() -> None:
    with pytest.raises(InvalidRequest, match=r"parameters can't be used for constrained decoding"):
        grammar_for(request({"type": "string", "minLength": 5, "maxLength": 2, "not": {}}, None))
