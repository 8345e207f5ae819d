"""Regular expressions of schemas and policies, with the semantics of JSON Schema."""

from __future__ import annotations

import re
from functools import lru_cache

_SIGN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\$", re.DOTALL)
_LINES = re.compile(r"\(\?[a-zA-Z]*m")


@lru_cache(maxsize=1024)
def to_the_end(pattern: str) -> str:
    """Makes ``$`` match only at the very end of a text, as in JSON Schema; in Python it also matches before a final
    line break. In multiline patterns (``(?m)``), ``$`` still matches at each line's end."""
    if "$" not in pattern or _LINES.search(pattern):
        return pattern
    return _SIGN.sub(lambda sign: r"\Z" if sign.group() == "$" else sign.group(), pattern)
