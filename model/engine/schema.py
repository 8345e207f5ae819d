"""Adds bounds to JSON Schemas, since a small model may fill an unbounded string or list forever.

Bounds are added only where the schema leaves something open, so the original schema accepts everything
that the bounded one accepts, unless it is loosened (`model.engine.loosening`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from flightloop.errors import InvalidRequest
from flightloop.schemas import SchemaProblem, check, referred
from model.engine.alternatives import OVERLAP, Alternatives
from model.engine.loosening import Looseness, loosened

Schema = dict[str, Any]

MAX_LENGTH = 256  # characters per string
MAX_ITEMS = 16  # items per list, members per free-form object
MAX_KEY = 64  # characters per key of a free-form object
MAX_INTEGER = 10**15  # JSON readers agree on integers below 2**53
DECIMALS = 6
FREE_DEPTH = 3  # levels of a value without a schema

_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
_ANNOTATIONS = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator", "$schema",
    "$id", "$comment", "contentMediaType", "contentEncoding",
}  # fmt: skip
_BELOW_ONE = ("items", "additionalProperties", "contains", "not")
_BELOW_MANY = ("anyOf", "allOf", "prefixItems")
_BELOW_NAMED = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")


def check_schema(schema: Any, param: str) -> None:
    """Rejects invalid JSON Schemas, those that are too large, and those that no finite value satisfies.

    Raises:
        InvalidRequest: names ``param`` and the place in the schema.
    """
    try:
        check(schema)
    except SchemaProblem as problem:
        raise InvalidRequest(f"{param}{problem.at}: {problem.problem}", param=param) from problem
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "".join(f"[{step!r}]" for step in error.absolute_path)
        raise InvalidRequest(f"{param}{place} is not a valid JSON Schema: {error.message}", param=param) from error


def embed(schema: Schema, scope: str, looseness: Looseness = Looseness.NONE) -> tuple[Schema, Schema]:
    """The bounded schema as part of a larger document, and the definitions that the document needs.

    References become ``#/$defs/<scope>...``, so that several schemas can share a document. The schema must have
    passed ``check_schema``.

    Raises:
        SchemaProblem: a ``oneOf`` that a grammar can't express.
    """
    alternatives = Alternatives(schema)
    alternatives.tag(_nodes(schema))
    targets = sorted({target for _, target in _references(schema)})
    names = {target: f"{scope}{number}" for number, target in enumerate(targets)}
    # Closing an object that allOf combines with another one could make both unsatisfiable.
    closing = not any("allOf" in node for node in _nodes(schema))
    walk = _Bounds(alternatives, names, closing, looseness)
    return walk.node(schema), {names[target]: walk.node(referred(schema, target)) for target in targets}


def free_value(depth: int = FREE_DEPTH) -> Schema:
    """A schema for any JSON value with at most ``depth`` levels of lists and objects."""
    kinds: list[Schema] = [_STRING, _NUMBER, {"type": "boolean"}, {"type": "null"}]
    if depth:
        kinds += [{"type": "array", "items": free_value(depth - 1), "maxItems": MAX_ITEMS}, free_object(depth - 1)]
    return {"anyOf": kinds}


def free_object(depth: int = FREE_DEPTH) -> Schema:
    """A schema for any JSON object whose values have at most ``depth`` levels."""
    return {"type": "object", "maxProperties": MAX_ITEMS, **_members(free_value(depth))}


def _members(value: Schema | bool) -> Schema:
    return {"patternProperties": {rf'^[^"\\\x00-\x1f]{{1,{MAX_KEY}}}$': value}, "additionalProperties": False}


_STRING: Schema = {"type": "string", "maxLength": MAX_LENGTH}
_NUMBER: Schema = {"type": "number", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER, "multipleOf": 10**-DECIMALS}


class _Bounds:
    def __init__(self, alternatives: Alternatives, names: dict[str, str], closing: bool, looseness: Looseness) -> None:
        self.alternatives = alternatives
        self.names = names
        self.closing = closing
        self.looseness = looseness

    def node(self, schema: Schema | bool) -> Schema:
        if schema is True or schema is False:
            return free_value() if schema else {"not": {}}
        required = self.alternatives.required(schema)
        schema = loosened(schema, self.looseness)
        if "oneOf" in schema:
            schema = self._any_of(schema)
        node = {key: self._value(key, value) for key, value in schema.items() if key not in _ANNOTATIONS}
        if required:
            node["required"] = required
        for name in _DEFINITIONS:
            node.pop(name, None)
        if node.get("format") not in _FORMATS:
            node.pop("format", None)  # an annotation by the JSON Schema specification
        if not node:
            return free_value()
        if "$ref" not in node and "const" not in node and "enum" not in node:
            self._bound(node)
        return node

    def _any_of(self, schema: Schema) -> Schema:
        if "anyOf" in schema or not self.alternatives.exclusive(schema["oneOf"]):
            raise SchemaProblem(OVERLAP, ("oneOf",))
        return {"anyOf" if key == "oneOf" else key: value for key, value in schema.items()}

    def _value(self, key: str, value: Any) -> Any:
        if key == "$ref":
            return f"#/$defs/{self.names[value]}"
        if key in _BELOW_ONE and not (key == "additionalProperties" and isinstance(value, bool)):
            return self.node(value)
        if key in _BELOW_MANY:
            return [self.node(each) for each in value]
        if key in _BELOW_NAMED:
            return {name: self.node(each) for name, each in value.items()}
        return value

    def _bound(self, node: Schema) -> None:
        given = node.get("type")
        kinds = [given] if isinstance(given, str) else given or []
        if "string" in kinds:
            node.setdefault("maxLength", max(MAX_LENGTH, node.get("minLength", 0)))
        if "array" in kinds:
            self._bound_array(node)
        if "object" in kinds:
            self._bound_object(node)
        if "integer" in kinds or "number" in kinds:
            _bound_number(node, "integer" not in kinds)

    def _bound_array(self, node: Schema) -> None:
        most = max(MAX_ITEMS, node.get("minItems", 0), len(node.get("prefixItems", ())))
        node.setdefault("maxItems", most)
        node.setdefault("items", free_value(FREE_DEPTH - 1))

    def _bound_object(self, node: Schema) -> None:
        named = bool(node.get("properties"))
        extra = node.get("additionalProperties", True)
        if extra is False or "patternProperties" in node or not self.closing:
            return
        if named and extra is True and set(node.get("required", ())) <= set(node["properties"]):
            node["additionalProperties"] = False
        elif not named:
            node.setdefault("maxProperties", max(MAX_ITEMS, node.get("minProperties", 0)))
            if not node.get("required"):
                node.update(_members(free_value(FREE_DEPTH - 1) if extra is True else extra))


def _bound_number(node: Schema, decimals: bool) -> None:
    upper: Any = node.get("maximum", node.get("exclusiveMaximum", MAX_INTEGER))
    lower: Any = node.get("minimum", node.get("exclusiveMinimum", -MAX_INTEGER))
    if lower < MAX_INTEGER and "exclusiveMaximum" not in node:
        node.setdefault("maximum", MAX_INTEGER)
    if upper > -MAX_INTEGER and "exclusiveMinimum" not in node:
        node.setdefault("minimum", -MAX_INTEGER)
    if decimals:
        node.setdefault("multipleOf", 10**-DECIMALS)


def _nodes(value: Any) -> Iterator[Schema]:
    if isinstance(value, dict):
        yield value
        for key, below in value.items():
            if key not in ("const", "enum", "default", "examples"):
                yield from _nodes(below)
    elif isinstance(value, list):
        for below in value:
            yield from _nodes(below)


def _references(schema: Any) -> Iterator[tuple[str, str]]:
    for node in _nodes(schema):
        for name in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(node.get(name), str):
                yield name, node[name]
