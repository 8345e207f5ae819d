"""Renders JSON Schemas as short signatures, since a small model has no room for the schemas themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flightloop.chat import FunctionDef
from flightloop.schemas import referred

_DEPTH = 4  # levels of nesting that are rendered
_NAMES = {"object": "object", "array": "any[]", "null": "null"}


def signature(function: FunctionDef) -> str:
    """``name(parameter: type, optional?: type) - description``, then a line for each parameter with a description."""
    schema = function.parameters
    inner = ", ".join(_members(schema, schema, _DEPTH))
    about = _words(function.description)
    lines = [f"{function.name}({inner})" + (f" - {about}" if about else "")]
    return "\n".join([*lines, *(f"  {name}: {text}" for name, text in _described(schema, schema, _DEPTH))])


def type_text(schema: dict[str, Any]) -> str:
    """A schema's type, in TypeScript's style."""
    return _type(schema, schema, _DEPTH)


def _described(schema: dict[str, Any], root: dict[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    """Path and description of each parameter that has a description."""
    for name, below in (schema.get("properties") or {}).items():
        if not isinstance(below, dict) or depth == 0:
            continue
        text = _words(below.get("description"))
        if text:
            yield name, text
        inner = referred(root, below["$ref"]) if "$ref" in below else below
        if isinstance(inner, dict):
            items = inner.get("items")
            inner = items if isinstance(items, dict) else inner
            yield from ((f"{name}.{path}", words) for path, words in _described(inner, root, depth - 1))


def _words(text: Any) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


def _members(schema: dict[str, Any], root: dict[str, Any], depth: int) -> list[str]:
    required = set(schema.get("required", ()))
    members = []
    for name, below in (schema.get("properties") or {}).items():
        default = below.get("default") if isinstance(below, dict) else None
        suffix = "" if default is None else f" = {json.dumps(default, ensure_ascii=False)}"
        members.append(f"{name}{'' if name in required else '?'}: {_type(below, root, depth)}{suffix}")
    return members


def _type(schema: Any, root: dict[str, Any], depth: int) -> str:
    if not isinstance(schema, dict) or not schema or depth == 0:
        return "any"
    if "$ref" in schema:
        return _type(referred(root, schema["$ref"]), root, depth - 1)
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return "|".join(json.dumps(value, ensure_ascii=False) for value in values)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _union([_type(each, root, depth) for each in schema[key]])
    if "allOf" in schema:
        return " & ".join(_type(each, root, depth) for each in schema["allOf"])
    given = schema.get("type")
    if isinstance(given, list):
        return _union([_type({**schema, "type": kind}, root, depth) for kind in given])
    return _plain(schema, given, root, depth)


def _plain(schema: dict[str, Any], kind: Any, root: dict[str, Any], depth: int) -> str:
    if kind == "array" and "items" in schema:
        items = _type(schema["items"], root, depth - 1)
        return f"({items})[]" if any(sign in items for sign in "|&") else f"{items}[]"
    if schema.get("properties"):
        return "{" + ", ".join(_members(schema, root, depth - 1)) + "}"
    if kind == "string" and "format" in schema:
        return str(schema["format"])
    return _NAMES.get(kind, kind if isinstance(kind, str) else "any")


def _union(types: list[str]) -> str:
    return "|".join(dict.fromkeys(types))
