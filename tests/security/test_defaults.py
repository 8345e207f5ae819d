"""Defaults that a tool declares: what it uses is what rules check and people see."""

from __future__ import annotations

from typing import Any

import pytest

from flightloop.errors import ConfigError
from flightloop.tool import Effect, Tool, ToolSpec
from tools.registry import Registry


@pytest.mark.parametrize(
    ("declared", "way_out"),
    [
        ({"type": "number", "default": None}, "its type needs `| None`"),
        ({"type": "integer", "exclusiveMinimum": 0, "default": 0}, "does not fit"),
        ({"type": "object", "properties": {"deep": {"type": "string", "default": 5}}}, "deep: its default"),
        ({"type": "array", "items": {"$ref": "#/$defs/item"}}, "unit: its default"),
    ],
)
def test_a_default_that_its_own_schema_rejects_is_an_error(declared: dict[str, Any], way_out: str) -> None:
    """A rule would not see it, nor a person that approves the call."""
    item = {"type": "object", "properties": {"unit": {"enum": ["kg"], "default": "g"}}} if "items" in declared else {}
    parameters = {"type": "object", "properties": {"amount": declared}, "$defs": {"item": item}}
    with pytest.raises(ConfigError, match=r"tool pay: .*default") as caught:
        Registry([Tool(ToolSpec("pay", "Pays.", parameters, Effect.KEYED), str)])
    assert way_out in str(caught.value)


def test_defaults_that_fit_are_no_error() -> None:
    fit = {
        "a": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "b": {"const": "x", "default": "x"},
    }
    spec = ToolSpec("find", "Finds.", {"type": "object", "properties": fit}, Effect.PURE)
    assert Registry([Tool(spec, str)]).canonical("find", {}) == {"a": None, "b": "x"}


@pytest.mark.parametrize(
    ("declared", "arguments", "form"),
    [
        ({"oneOf": [{"required": ["id"]}, {"required": ["query"]}]}, {"id": "x"}, {"id": "x", "size": 10}),
        ({"dependentRequired": {"query": ["id"]}}, {"all": True}, {"all": True, "size": 10}),
        ({}, {"id": "x"}, {"id": "x", "query": "", "size": 10}),
    ],
)
def test_defaults_that_contradict_what_is_given_stay_out(
    declared: dict[str, Any], arguments: dict[str, Any], form: dict[str, Any]
) -> None:
    properties = {"id": {}, "all": {}, "query": {"default": ""}, "size": {"type": "integer", "default": 10}}
    spec = ToolSpec("find", "Finds.", {"type": "object", "properties": properties, **declared}, Effect.PURE)
    assert Registry([Tool(spec, str)]).canonical("find", arguments) == form


def test_what_looks_like_a_schema_within_a_value_is_none() -> None:
    schema = {"properties": {"x": {"type": "number", "default": None}}}
    named = {"type": "object", "default": {"default": 5}}
    spec = ToolSpec(
        "find",
        "Finds.",
        {"type": "object", "properties": {"a": {"examples": [schema], "default": schema}, "properties": named}},
        Effect.PURE,
    )
    assert Registry([Tool(spec, str)]).canonical("find", {"a": 1})["a"] == 1
