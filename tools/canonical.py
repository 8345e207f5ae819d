"""Canonical form of a call's arguments, in which the call is shown and executed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from flightloop.schemas import referred
from flightloop.wellformed import LARGEST_INTEGER, LEVELS

_REFERENCES = 32
"""Maximum number of references to follow in a row."""


def canonical(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments with whole floats as integers (2.0 as 2) and with the schema's defaults filled in.

    Args:
        arguments: a call's arguments, valid under the schema.
        schema: the tool's parameters. Defaults are also found through internal references, and in alternatives if only
            one of them is an object or a list.
    """
    return _Form(schema).of(arguments, schema, LEVELS)  # type: ignore[no-any-return]


class _Form:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def of(self, value: Any, schema: Any, left: int) -> Any:
        if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_INTEGER:
            return int(value)
        if left == 0:
            return value
        if isinstance(value, list):
            items = self._part(schema, "items")
            return [self.of(item, items.get("items"), left - 1) for item in value]
        if isinstance(value, dict):
            known = self._part(schema, "properties").get("properties")
            known = known if isinstance(known, dict) else {}
            given = {**{name: deepcopy(one["default"]) for name, one in known.items() if _has_default(one)}, **value}
            return {name: self.of(inner, known.get(name), left - 1) for name, inner in given.items()}
        return value

    def _part(self, schema: Any, keyword: str) -> Mapping[str, Any]:
        """The part of a schema with the keyword: itself, the target of its ``$ref``, or its only alternative."""
        for _ in range(_REFERENCES):
            if not isinstance(schema, dict) or keyword in schema:
                break
            if isinstance(schema.get("$ref"), str):
                schema = referred(self._root, schema["$ref"])
                continue
            parts = [part for key in ("allOf", "anyOf", "oneOf") for part in _listed(schema.get(key))]
            parts = [part for part in parts if isinstance(part, dict) and (keyword in part or "$ref" in part)]
            schema = parts[0] if len(parts) == 1 else {}
        return schema if isinstance(schema, dict) else {}


def _has_default(schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
