"""Regular expressions of schemas and policies, as JSON Schema means them."""

from __future__ import annotations

import re
from functools import lru_cache

_SIGN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\$", re.DOTALL)
_LINES = re.compile(r"\(\?[a-zA-Z]*m")


@lru_cache(maxsize=1024)
def to_the_end(pattern: str) -> str:
    """A pattern whose ``$`` is the very end of a text, as in JSON Schema; for Python it is also the place before a line
    break at the end. Of one that asks for lines (``(?m)``), ``$`` remains the end of each."""
    if "$" not in pattern or _LINES.search(pattern):
        return pattern
    return _SIGN.sub(lambda sign: r"\Z" if sign.group() == "$" else sign.group(), pattern)
