"""Makes JSON of models and tools safe to store and read again: no lone surrogates, no numbers that some readers lose,
limited depth."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

LEVELS = 64
"""Maximum nesting depth. Some readers fail at about 200 (pydantic), and stored values are nested in others."""

LARGEST_INTEGER = 2**53 - 1
"""Largest integer that every reader preserves: those that use doubles, such as JavaScript, change larger ones
(RFC 8259, 6)."""


def levels(value: Any) -> int:
    """Nesting depth of lists and dicts; 0 for other values."""
    deep, layer = 0, [value]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        deep += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return deep


def key_given_twice(text: str) -> str | None:
    """A key that an object of a JSON text has twice, in whatever case: readers differ in which of them counts."""
    twice: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> None:
        names = Counter(key.casefold() for key, _ in pairs)
        twice.extend(key for key, _ in pairs if names[key.casefold()] > 1)

    json.loads(text, object_pairs_hook=read)
    return twice[0] if twice else None


def unkept_number(value: Any) -> int | float | None:
    """A number in a JSON value that not every reader preserves: infinite, NaN, or too large an integer."""
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
    """A JSON value in which NaN and infinities are null, because JSON can't represent them."""
    try:
        json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    return value


def whole(value: Any) -> Any:
    """A JSON value in which surrogate pairs are joined and lone surrogates replaced by U+FFFD."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return joined if isinstance(value, str) else json.loads(joined)
    return value
