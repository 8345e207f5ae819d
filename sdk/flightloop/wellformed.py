"""JSON from models and tools, made fit to be kept and read again: whole characters, numbers that every reader keeps,
no deeper than readers go."""

from __future__ import annotations

import json
import math
from typing import Any

LEVELS = 64
"""Lists and objects in each other. Readers give up at some 200 (pydantic), and what is kept lies in others itself."""

LARGEST_INTEGER = 2**53 - 1
"""Readers that hold every number as a double, JavaScript's among them, take a larger one for another (RFC 8259, 6)."""


def levels(value: Any) -> int:
    """How deep lists and dicts lie in each other; 0 for anything else."""
    deep, layer = 0, [value]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        deep += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return deep


def unkept_number(value: Any) -> int | float | None:
    """A number in a JSON value that not every reader keeps: infinite, none at all, or too large an integer."""
    layer = [value]
    while layer:
        for one in layer:
            if isinstance(one, float) and not math.isfinite(one):
                return one
            if isinstance(one, int) and abs(one) > LARGEST_INTEGER:
                return one
        nested = [one for one in layer if isinstance(one, dict | list)]
        layer = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
    return None


def finite(value: Any) -> Any:
    """A JSON value with null for numbers that JSON has no way to write, as those who keep it would make of it."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    return value


def whole(value: Any) -> Any:
    """A JSON value without halves of characters: two that make a pair are joined, one alone becomes U+FFFD."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return joined if isinstance(value, str) else json.loads(joined)
    return value
