"""Decides whether the alternatives of a ``oneOf`` are disjoint: then it equals ``anyOf``, which grammars support.

A grammar can't count how many alternatives a value satisfies; it needn't if they are disjoint.
Tagged unions are disjoint: each alternative has a property (the tag) with its own constant. Pydantic
doesn't require a tag that has a default, and some clients omit ``discriminator``, so the grammar
requires the tag. It then accepts fewer values, each of which satisfies exactly one alternative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Any

from flightloop.schemas import referred

Schema = Mapping[str, Any]

DEPTH = 4
"""Levels of properties and alternatives that are searched."""
OVERLAP = (
    "has alternatives that the same value may satisfy, which a grammar cannot express: give each a property with"
    " a different const (a discriminator), or use anyOf"
)
KINDS = frozenset({"null", "boolean", "object", "array", "string", "number", "integer"})


@dataclass
class Alternatives:
    """Alternatives in a schema document, and the tags that the grammar requires of them.

    Args:
        root: the document. Checked by `flightloop.schemas`: references stay inside it and don't recurse forever.
    """

    root: Schema
    _tags: dict[int, list[str]] = field(default_factory=dict)

    def tag(self, nodes: Iterable[Schema]) -> None:
        """Finds the tags of all unions among the document's nodes."""
        for node in nodes:
            alternatives = [self._resolved(one) for one in _list(node.get("oneOf"))]
            tag = _mapping(node.get("discriminator")).get("propertyName") or self._common_tag(alternatives)
            for one in alternatives:
                if tag is not None and tag in _properties(one):
                    self._tags.setdefault(id(one), []).append(tag)

    def required(self, schema: Schema) -> list[str]:
        """Properties that a value must have, including tags."""
        return list(dict.fromkeys([*_list(schema.get("required")), *self._tags.get(id(schema), ())]))

    def exclusive(self, alternatives: Sequence[Any]) -> bool:
        """Whether the alternatives are provably disjoint if each requires its tag; False may also mean unproven."""
        return all(self._disjoint(one, other, DEPTH) for one, other in permutations(alternatives, 2))

    def _common_tag(self, alternatives: Sequence[Any]) -> str | None:
        for name in _properties(alternatives[0]) if alternatives else ():
            found = [self._resolved(_properties(one).get(name)) for one in alternatives]
            constant = all(isinstance(one, Mapping) and _constants(one) is not None for one in found)
            if constant and all(_apart(one, other) for one, other in combinations(found, 2)):
                return name
        return None

    def _disjoint(self, tagged: Any, other: Any, depth: int) -> bool:
        """Whether no value satisfies both; ``tagged`` requires its tags, ``other`` doesn't."""
        tagged, other = self._resolved(tagged), self._resolved(other)
        if tagged is False or other is False:
            return True
        if depth == 0 or not isinstance(tagged, Mapping) or not isinstance(other, Mapping):
            return False
        if _apart(tagged, other):
            return True
        for keyword in ("anyOf", "oneOf"):
            inner = _list(tagged.get(keyword))
            if inner and all(self._disjoint(one, other, depth - 1) for one in inner):
                return True
            inner = _list(other.get(keyword))
            if inner and all(self._disjoint(tagged, one, depth - 1) for one in inner):
                return True
        needed = {*self.required(tagged), *_list(other.get("required"))}
        shared = _properties(tagged).keys() & _properties(other).keys() & needed
        return _kinds(tagged) & _kinds(other) == {"object"} and any(
            self._disjoint(_properties(tagged)[name], _properties(other)[name], depth - 1) for name in sorted(shared)
        )

    def _resolved(self, schema: Any) -> Any:
        while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            schema = referred(self.root, schema["$ref"])
        return schema


def _apart(one: Schema, other: Schema) -> bool:
    """Whether constants or types alone show that no value satisfies both."""
    constants, others = _constants(one), _constants(other)
    if constants is not None and others is not None:
        return not any(_same(value, another) for value in constants for another in others)
    return not _kinds(one) & _kinds(other)


def _constants(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _kinds(schema: Schema) -> frozenset[str]:
    """Types of the values that the schema may accept."""
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
    """Equality in JSON: true is not 1, as it is in Python."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _properties(schema: Any) -> Mapping[str, Any]:
    return _mapping(_mapping(schema).get("properties"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
