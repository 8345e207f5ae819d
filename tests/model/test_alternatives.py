"""Which ``oneOf`` a grammar can hold: those whose alternatives exclude each other."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from flightloop.chat import ToolDef
from flightloop.errors import ConfigError, InvalidRequest
from model.chat.compact import call_text
from model.engine.alternatives import Alternatives
from model.engine.compiler import check_tools
from model.engine.grammar import grammar_for
from tests.model.test_grammar import accepts, json_schema, request, tool, walk


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog", "hound"]
    tricks: list[str]


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Leaf(BaseModel):
    op: Literal["leaf"] = "leaf"
    x: int


class And(BaseModel):
    op: Literal["and"] = "and"
    parts: list[Annotated[And | Leaf, Field(discriminator="op")]]


class Filter(BaseModel):
    where: Annotated[And | Leaf, Field(discriminator="op")]


@pytest.mark.parametrize(
    ("model", "fitting", "others"),
    [
        (
            Owner,
            ['{"pet": {"kind": "cat", "lives": 3}}', '{"pet": {"kind": "hound", "tricks": []}}'],
            ['{"pet": {"lives": 3}}', '{"pet": {"kind": "dog", "lives": 3}}', '{"pet": {"kind": "cow", "lives": 3}}'],
        ),
        (
            Filter,
            ['{"where": {"op": "and", "parts": [{"op": "leaf", "x": 1}, {"op": "and", "parts": []}]}}'],
            ['{"where": {"parts": []}}', '{"where": {"op": "leaf", "parts": []}}'],
        ),
    ],
)
def test_discriminated_unions_as_pydantic_writes_them(
    model: type[BaseModel], fitting: list[str], others: list[str]
) -> None:
    schema = model.model_json_schema()
    assert "discriminator" in str(schema)
    grammar = grammar_for(request(response_format=json_schema(schema)))
    assert grammar is not None
    assert [accepts(grammar, text) for text in fitting] == [True] * len(fitting)
    assert [accepts(grammar, text) for text in others] == [False] * len(others)
    for text in fitting:
        model.model_validate_json(text)
    grammar = grammar_for(request(tools=[tool("keep", schema)], tool_choice="required"))
    assert grammar is not None
    assert accepts(grammar, call_text([("keep", model.model_validate_json(fitting[0]).model_dump())]))


def test_a_tag_needs_no_discriminator_and_need_not_be_required() -> None:
    schema = Owner.model_json_schema()
    del schema["properties"]["pet"]["discriminator"]  # pydantic-ai does
    grammar = grammar_for(request(response_format=json_schema(schema)))
    assert grammar is not None
    assert accepts(grammar, '{"pet": {"kind": "cat", "lives": 3}}')
    assert not accepts(grammar, '{"pet": {"lives": 3}}')


@pytest.mark.parametrize(
    "alternatives",
    [
        [{"type": "integer"}, {"type": "number"}],
        [{"type": "string"}, {}],
        [{"const": 1}, {"enum": [1.0, 2]}],
        [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"a": {"const": 2}}, "required": ["a"]},
        ],
        [
            {"type": "object", "properties": {"a": {"type": kind}}} for kind in ("string", "integer")
        ],  # {} satisfies both
    ],
)
def test_alternatives_that_overlap_are_refused_with_what_to_do(alternatives: list[Any]) -> None:
    schema = {"type": "object", "properties": {"v": {"oneOf": alternatives}}}
    with pytest.raises(InvalidRequest, match=r"discriminator.*or use anyOf"):
        grammar_for(request(response_format=json_schema(schema)))
    check_tools([ToolDef.model_validate(tool("keep", schema))])  # checked after decoding
    strict = tool("keep", schema)
    strict["function"]["strict"] = True
    with pytest.raises(InvalidRequest, match=r"tools\[0\]\.function\.parameters.*anyOf"):
        grammar_for(request(tools=[strict]))
    with pytest.raises(ConfigError, match=r"tool keep: .*anyOf"):
        check_tools([ToolDef.model_validate(tool("fine")), ToolDef.model_validate(strict)])


def test_tools_that_can_be_held_pass() -> None:
    check_tools([ToolDef.model_validate(tool("keep", Owner.model_json_schema()))])


constants = st.sampled_from([None, True, False, 0, 1, 1.0, 2, "a", "b"])
leaves = st.one_of(
    st.sampled_from(["null", "boolean", "integer", "number", "string", "object", "array"]).map(
        lambda kind: {"type": kind}
    ),
    constants.map(lambda value: {"const": value}),
    st.lists(constants, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    st.just({}),
)


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    members = st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1)
    objects = st.tuples(members, st.booleans(), st.booleans()).map(
        lambda made: {
            "properties": made[0],
            "required": sorted(made[0]) if made[1] else [],
            **({"type": "object"} if made[2] else {}),
        }
    )
    unions = st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options})
    return objects | unions


alternatives = st.recursive(leaves, composed, max_leaves=4)
values = st.recursive(constants, lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2))


@given(alternatives, alternatives, st.lists(values, min_size=1, max_size=8))
@example({"const": True}, {"const": 1}, [True, 1])
@settings(max_examples=500, deadline=None)
def test_no_value_satisfies_two_alternatives_that_are_called_exclusive(one: Any, other: Any, found: list[Any]) -> None:
    both = any(all(Draft202012Validator(each).is_valid(value) for each in (one, other)) for value in found)
    assert not (both and Alternatives({}).exclusive([one, other]))


@given(st.lists(alternatives, min_size=1, max_size=3), st.booleans(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_what_is_decoded_satisfies_exactly_one(options: list[Any], tagged: bool, seed: int) -> None:
    if tagged:
        options = [
            {"type": "object", "properties": {"tag": {"const": f"t{n}"}, "value": each}}
            for n, each in enumerate(options)
        ]
    schema = {"oneOf": options}
    try:
        grammar = grammar_for(request(response_format=json_schema(schema)))
    except InvalidRequest:
        assume(not tagged)
        return
    assert grammar is not None
    Draft202012Validator(schema).validate(json.loads(walk(grammar, seed)))
