"""Alternatives of a ``oneOf`` that exclude each other: it then says the same as ``anyOf``, which a grammar can hold.

A grammar can't count how many alternatives a value satisfies. Where no value can satisfy two there is nothing to
count, as in the unions that pydantic and OpenAPI write with a ``discriminator``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

DEPTH = 4
"""Levels of properties and alternatives that are looked through."""
OVERLAP = (
    "has alternatives that one value may satisfy together, which no grammar can keep apart: give each a required"
    " property with a const of its own (a discriminator), or write anyOf"
)
KINDS = frozenset({"null", "boolean", "object", "array", "string", "number", "integer"})


def require_tags(nodes: Iterable[dict[str, Any]], root: dict[str, Any]) -> None:
    """Makes each alternative of a union with a ``discriminator`` require it, in place.

    OpenAPI 3.1 (4.8.25) wants the property to be there, and pydantic refuses a value without; but pydantic's schemas
    don't list it as required where it has a default.
    """
    for node in nodes:
        tag = _mapping(node.get("discriminator")).get("propertyName")
        for alternative in _list(node.get("oneOf")):
            found = resolved(alternative, root)
            if isinstance(found, dict) and tag in _mapping(found.get("properties")):
                required = _list(found.get("required"))
                found["required"] = required if tag in required else [*required, tag]


def exclusive(alternatives: Iterable[Any], root: Mapping[str, Any]) -> bool:
    """Whether no value satisfies two of the schemas, as far as that shows; their references point into ``root``."""
    return all(_disjoint(one, other, root, DEPTH) for one, other in combinations(alternatives, 2))


def resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a schema refers to; itself where it is no reference. Chains of references end (`flightloop.schemas`)."""
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        found: Any = root
        for step in schema["$ref"].removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]
        schema = found
    return schema


def _disjoint(one: Any, other: Any, root: Mapping[str, Any], depth: int) -> bool:
    one, other = resolved(one, root), resolved(other, root)
    if one is False or other is False:
        return True
    if depth == 0 or not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    for schema, against in ((one, other), (other, one)):
        for keyword in ("anyOf", "oneOf"):
            inner = _list(schema.get(keyword))
            if inner and all(_disjoint(each, against, root, depth - 1) for each in inner):
                return True
    return _apart(one, other) or any(
        _disjoint(one["properties"][name], other["properties"][name], root, depth - 1) for name in _shared(one, other)
    )


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By their constants or their types."""
    constants, others = _constants(one), _constants(other)
    if constants is not None and others is not None:
        return not any(_same(value, another) for value in constants for another in others)
    return not _kinds(one) & _kinds(other)


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Properties that every value of either schema has."""
    if _kinds(one) == _kinds(other) == {"object"}:
        known = [
            _mapping(schema.get("properties")).keys() & set(_list(schema.get("required"))) for schema in (one, other)
        ]
        yield from sorted(known[0] & known[1])


def _constants(schema: Mapping[str, Any]) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    """Types of the values that may satisfy the schema."""
    given = schema.get("type", KINDS)
    kinds = frozenset([given] if isinstance(given, str) else given)
    kinds |= {"integer"} if "number" in kinds else set()
    constants = _constants(schema)
    return kinds if constants is None else kinds & {kind for value in constants for kind in _kinds_of(value)}


def _kinds_of(value: Any) -> set[str]:
    if value is None or isinstance(value, bool):
        return {"null" if value is None else "boolean"}
    if isinstance(value, str):
        return {"string"}
    return {"object"} if isinstance(value, dict) else {"array"} if isinstance(value, list) else {"number", "integer"}


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, though Python says so."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
