"""Leaves out the parts of a JSON Schema that a grammar can't express.

The loosened schema accepts all that the original accepts within its bounds, and more: whoever uses it checks the
values against the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

Schema = dict[str, Any]

UNEXPRESSED = frozenset({
    "not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames",
    "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
"""Keywords that llguidance refuses."""
_ANNOTATIONS = frozenset({"title", "description", "$comment", "default", "examples"})


class Looseness(IntEnum):
    """What is left out."""

    NONE = 0
    KEYWORDS = 1
    """`UNEXPRESSED` keywords; ``oneOf`` becomes ``anyOf``."""
    PATTERNS = 2
    """Regular expressions too, since the compiler knows no lookaround and no back-references."""


def loosened(schema: Schema, looseness: Looseness) -> Schema:
    """A schema without what ``looseness`` names. Its subschemas stay as they are, unless they become empty."""
    if looseness is Looseness.NONE:
        return schema
    node = {key: value for key, value in schema.items() if key not in UNEXPRESSED}
    _keep_branches(node, schema)
    if "oneOf" in node:
        alternatives = node.pop("oneOf")
        node.setdefault("anyOf", alternatives)
    if looseness >= Looseness.PATTERNS:
        _drop_patterns(node)
    for keyword, vacuous in (("allOf", all), ("anyOf", any)):
        if keyword in node and vacuous(_accepts_all(one, looseness) for one in node[keyword]):
            del node[keyword]
    if "allOf" in node:
        node["allOf"] = [one for one in node["allOf"] if not _accepts_all(one, looseness)]
    return node


def _keep_branches(node: Schema, schema: Schema) -> None:
    """Lets an object have the properties that only dropped branches declare: bounds would forbid them."""
    if not isinstance(node.get("properties"), dict):
        return
    declared: dict[str, list[Any]] = {}
    for branch in _branches(schema):
        for name, below in branch.get("properties", {}).items():
            if name not in node["properties"] and below not in declared.setdefault(name, []):
                declared[name].append(below)
    added = {name: found[0] if len(found) == 1 else {"anyOf": found} for name, found in declared.items()}
    node["properties"] = {**node["properties"], **added}


def _branches(schema: Schema) -> Iterator[Schema]:
    for one in (schema.get("then"), schema.get("else"), *schema.get("dependentSchemas", {}).values()):
        if isinstance(one, Mapping):
            yield dict(one)
            yield from _branches(dict(one))


def _drop_patterns(node: Schema) -> None:
    node.pop("pattern", None)
    named = node.pop("patternProperties", None)
    if named and node.get("additionalProperties") is False:
        node["additionalProperties"] = {"anyOf": list(named.values())}


def _accepts_all(schema: Any, looseness: Looseness) -> bool:
    return schema is True or (isinstance(schema, dict) and not loosened(schema, looseness).keys() - _ANNOTATIONS)
