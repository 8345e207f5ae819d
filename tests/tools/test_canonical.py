from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tools.canonical import canonical

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES))
def test_the_form_is_equal_and_has_itself_as_its_form(arguments: dict[str, Any]) -> None:
    found = canonical(arguments, {})
    assert found == arguments
    assert json.dumps(canonical(found, {})) == json.dumps(found)


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_has_one_spelling(number: int) -> None:
    assert json.dumps(canonical({"a": [float(number)]}, {})) == json.dumps({"a": [number]})


def test_defaults_are_filled_in_behind_references_and_alternatives() -> None:
    inner = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}
    schema = {
        "type": "object",
        "properties": {
            "box": {"$ref": "#/$defs/Box"},
            "other": {"anyOf": [{"$ref": "#/$defs/Box"}, {"type": "null"}], "default": None},
            "all": {"type": "array", "items": {"$ref": "#/$defs/Box"}},
        },
        "$defs": {"Box": inner},
    }
    given_ = {"box": {}, "other": {}, "all": [{}, {"size": 4}]}
    filled = {"box": {"size": 3}, "other": {"size": 3}, "all": [{"size": 3}, {"size": 4}]}
    assert canonical(given_, schema) == filled
    assert canonical({}, schema) == {"other": None}


def test_a_default_is_filled_in_behind_a_reference_to_an_alternative() -> None:
    """As zod-to-json-schema writes a type that is used twice. JSON pointers number a list's elements (RFC 6901)."""
    box = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}
    one = {"anyOf": [{"type": "null"}, box], "default": None}
    schema = {"properties": {"one": one, "other": {"$ref": "#/properties/one/anyOf/1"}}}
    assert canonical({"other": {}}, schema) == {"one": None, "other": {"size": 3}}


def test_a_reference_in_a_circle_ends() -> None:
    schema = {"properties": {"a": {"$ref": "#/properties/a"}}}
    assert canonical({"a": {"b": 1.0}}, schema) == {"a": {"b": 1}}
