"""JSON Schemas as short signatures: a small model has no room for the schemas themselves."""

from __future__ import annotations

import json
from typing import Any

from flightloop.chat import FunctionDef

_DEPTH = 4  # levels of nesting that are spelled out
_NAMES = {"object": "object", "array": "any[]", "null": "null"}


def signature(function: FunctionDef) -> str:
    """One line: ``name(parameter: type, optional?: type) - description``."""
    schema = function.parameters
    inner = ", ".join(_members(schema, schema, _DEPTH))
    about = " ".join(function.description.split())
    return f"{function.name}({inner})" + (f" - {about}" if about else "")


def type_text(schema: dict[str, Any]) -> str:
    """A schema's type, in the style of TypeScript."""
    return _type(schema, schema, _DEPTH)


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
        return _type(_resolve(schema["$ref"], root), root, depth - 1)
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


def _resolve(reference: str, root: Any) -> Any:
    for step in reference.removeprefix("#").split("/")[1:]:
        root = root.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(root, dict) else None
    return root
