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
        ({"type": "number", "default": None}, "write `float | None = None`"),
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
