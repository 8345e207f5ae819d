"""Checks whether a JSON Schema can be compiled: size, references, and whether every part allows a finite value.

The meaning of keywords is left to the compiler; these checks bound its work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flightloop.limits import SCHEMA_CHARS, SCHEMA_LEVELS, SCHEMA_VALUES, SCHEMA_VISITS
from flightloop.wellformed import levels

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
PASSES = 64
"""Maximum number of passes over the definitions; each pass proves at least one more of them finite."""
_LITERAL = ("const", "enum", "default", "examples")
_ONE = ("items", "additionalProperties", "contains", "not", "propertyNames", "if", "then", "else", "unevaluatedItems",
        "unevaluatedProperties")  # fmt: skip
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SAME_VALUE = ("anyOf", "oneOf", "allOf")
_SAME_VALUE_ONE = ("not", "if", "then", "else")
_NESTED = ("object", "array")

Place = tuple[str | int, ...]


class SchemaProblem(ValueError):
    """A defect of a schema, as a predicate without subject; ``at`` is its place, such as ``['items']['type']``."""

    def __init__(self, problem: str, place: Place = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        self.at = "".join(f"[{step!r}]" for step in place)[:500]

    def __str__(self) -> str:
        return f"{self.at} {self.problem}".lstrip()


def values(document: Any) -> int:
    """Number of JSON values in a document, including itself."""
    count, layer = 0, [document]
    while layer:
        count += len(layer)
        layer = [inner for one in layer for inner in _inner(one)]
    return count


def check(schema: Mapping[str, Any]) -> None:
    """Checks a schema.

    Raises:
        SchemaProblem: the schema is too deep, or too large as written or with references expanded; a reference has no
            target or refers only to itself; or no finite value satisfies a part.
    """
    _check_size(schema)
    nodes, targets = _graph(schema)
    _check_visits(nodes, targets)
    _check_endings(nodes, targets)


def _check_size(schema: Mapping[str, Any]) -> None:
    """Checks the size, cheapest check first."""
    if (deep := levels(schema)) > SCHEMA_LEVELS:
        raise SchemaProblem(f"is {deep} levels deep, the limit is {SCHEMA_LEVELS}")
    if (count := values(schema)) > SCHEMA_VALUES:
        raise SchemaProblem(f"has {count} values, the limit is {SCHEMA_VALUES}")
    if (size := len(json.dumps(schema, ensure_ascii=False))) > SCHEMA_CHARS:
        raise SchemaProblem(f"has {size} characters as JSON, the limit is {SCHEMA_CHARS}")


def _graph(schema: Mapping[str, Any]) -> tuple[dict[Place, Mapping[str, Any]], dict[Place, list[Place]]]:
    """All subschemas by place, and the places that each one's references point to.

    A reference may point outside the keywords that usually hold subschemas; its target is then included too.
    """
    nodes = dict(subschemas(schema))
    targets: dict[Place, list[Place]] = {}
    while ahead := [place for place in nodes if place not in targets]:
        for place in ahead:
            targets[place] = _targets(schema, nodes[place], place)
            for target in targets[place]:
                if target not in nodes:
                    nodes.update(subschemas(_at(schema, target), target))
    return nodes, targets


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def subschemas(node: Any, place: Place = ()) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """A schema and all its subschemas with their places, inner ones first."""
    if not isinstance(node, Mapping):
        return
    for keyword in _ONE:
        yield from subschemas(node.get(keyword), (*place, keyword))
    for keyword in _MANY:
        for index, below in enumerate(_list(node.get(keyword))):
            yield from subschemas(below, (*place, keyword, index))
    for keyword in _NAMED:
        for name, below in _mapping(node.get(keyword)).items():
            yield from subschemas(below, (*place, keyword, name))
    yield place, node


def referred(schema: Mapping[str, Any], reference: str) -> Any:
    """The part of a schema that a reference within it names, such as ``#/$defs/name`` or ``#/anyOf/0``; None if no
    schema is there."""
    place = _target(schema, reference)
    return None if place is None else _at(schema, place)


def _targets(schema: Mapping[str, Any], node: Mapping[str, Any], place: Place) -> list[Place]:
    """Targets of a node's references. Raises SchemaProblem."""
    found = []
    for keyword in REFERENCES:
        reference = node.get(keyword)
        if isinstance(reference, str):
            target = _target(schema, reference)
            if target is None:
                raise SchemaProblem(f"{keyword} {reference[:200]!r} does not refer to a part of the schema", place)
            found.append(target)
    return found


def _target(schema: Mapping[str, Any], reference: str) -> Place | None:
    """Target of a reference such as ``#/$defs/name``; None if no schema is there."""
    if not (reference == "#" or reference.startswith("#/")):
        return None
    found: Any = schema
    place: list[str | int] = []
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        key = _index(name, len(found)) if isinstance(found, list) else name
        if isinstance(key, str) and key not in _mapping(found):
            return None
        found = found[key]
        place.append(key)
    return tuple(place) if isinstance(found, Mapping | bool) else None


def _index(name: str, length: int) -> str | int:
    """Index of an element in a JSON pointer (RFC 6901); the name itself if it is not an index."""
    plain = name.isascii() and name.isdecimal() and len(name) < 9 and str(int(name)) == name
    return int(name) if plain and int(name) < length else name


def _at(schema: Mapping[str, Any], place: Place) -> Any:
    found: Any = schema
    for step in place:
        found = found[step]
    return found


def _check_visits(nodes: Mapping[Place, Mapping[str, Any]], targets: Mapping[Place, list[Place]]) -> None:
    """Raises SchemaProblem if a schema refers to itself for the same value, or if too many schemas apply to one value,
    as in a chain of definitions that each refer to the next one twice."""
    visits: dict[Place, int] = {}
    for start in nodes:
        path: dict[Place, Iterator[Place]] = {}
        ahead: Place | None = start
        while ahead is not None or path:
            if ahead is not None and ahead in path:
                raise SchemaProblem("refers to itself: a reference must lead to other keywords", ahead)
            if ahead is not None and ahead not in visits and ahead in nodes:
                path[ahead] = iter(_beside(nodes, targets, ahead))
            if not path:
                break
            at = next(reversed(path))
            ahead = next(path[at], None)
            if ahead is None:
                visits[at] = 1 + sum(visits.get(place, 1) for place in _beside(nodes, targets, at))
                if visits[at] > SCHEMA_VISITS:
                    told = f"applies more than {SCHEMA_VISITS} schemas to one value, with references expanded"
                    raise SchemaProblem(told, at)
                del path[at]


def _beside(
    nodes: Mapping[Place, Mapping[str, Any]], targets: Mapping[Place, list[Place]], place: Place
) -> list[Place]:  # fmt: skip
    """Schemas that apply to the same value as this node."""
    node = nodes[place]
    several = [(*place, keyword, index) for keyword in _SAME_VALUE for index in range(len(_list(node.get(keyword))))]
    single = [(*place, keyword) for keyword in _SAME_VALUE_ONE if keyword in node]
    dependent = [(*place, "dependentSchemas", name) for name in _mapping(node.get("dependentSchemas"))]
    return [*targets[place], *several, *single, *dependent]


def _check_endings(nodes: Mapping[Place, Mapping[str, Any]], targets: Mapping[Place, list[Place]]) -> None:
    """Raises SchemaProblem if every value of a part must contain another value of the same part."""
    ends: set[Place] = set()
    places = list(nodes)
    for _ in range(PASSES):
        before = len(ends)
        ends.update(place for place in places if place not in ends and _ends(place, nodes, targets[place], ends))
        if len(ends) == len(nodes):
            return
        if len(ends) == before:
            endless = next(place for place in places if place not in ends)
            raise SchemaProblem("allows no finite value: each value must contain another value of this schema", endless)
        places.reverse()  # a chain of references needs few passes in one of the two orders
    raise SchemaProblem(f"has chains of more than {PASSES} references")


def _ends(
    place: Place, nodes: Mapping[Place, Mapping[str, Any]], targets: list[Place], ends: set[Place]
) -> bool:  # fmt: skip
    node = nodes[place]

    def known(below: Place) -> bool:
        return below in ends or below not in nodes  # true and false are not nodes

    if "const" in node or "enum" in node:
        return True
    if not all(known(target) for target in targets):
        return False
    parts = {keyword: range(len(_list(node.get(keyword)))) for keyword in _SAME_VALUE}
    if not all(known((*place, "allOf", index)) for index in parts["allOf"]):
        return False
    for keyword in ("anyOf", "oneOf"):
        if parts[keyword] and not any(known((*place, keyword, index)) for index in parts[keyword]):
            return False
    kinds = node.get("type")
    kinds = [kinds] if isinstance(kinds, str) else _list(kinds)
    if not kinds or any(kind not in _NESTED for kind in kinds):
        return True
    needed = {"object": _members(node, place), "array": _items(node, place)}
    return any(all(known(below) for below in needed[kind]) for kind in kinds)


def _members(node: Mapping[str, Any], place: Place) -> list[Place]:
    properties = _mapping(node.get("properties"))
    return [(*place, "properties", name) for name in _list(node.get("required")) if name in properties]


def _items(node: Mapping[str, Any], place: Place) -> list[Place]:
    least = node.get("minItems")
    least = least if isinstance(least, int | float) else 0
    first = len(_list(node.get("prefixItems")))
    needed: list[Place] = [(*place, "prefixItems", index) for index in range(first) if index < least]
    return [*needed, (*place, "items")] if least > first else needed


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
