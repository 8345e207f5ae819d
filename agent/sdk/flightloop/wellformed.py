"""JSON from models and tools, made fit to be kept and read again: whole characters, no deeper than readers go."""

from __future__ import annotations

import json
from typing import Any

LEVELS = 64
"""Lists and objects in each other. Readers give up at some 200 (pydantic), and what is kept lies in others itself."""


def levels(value: Any) -> int:
    """How deep lists and dicts lie in each other; 0 for anything else."""
    deep, layer = 0, [value]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        deep += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return deep


def whole(value: Any) -> Any:
    """A JSON value without halves of characters: two that make a pair are joined, one alone becomes U+FFFD."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return joined if isinstance(value, str) else json.loads(joined)
    return value
