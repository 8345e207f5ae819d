"""Query parameters that every list takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import Query

from flightloop.errors import NotFound

Limit = Annotated[int, Query(ge=1, le=200, description="Entries a page.")]
After = Annotated[str | None, Query(max_length=128, description="`next_after` of the page before.")]


def unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, object], param: str) -> NotFound:
    """There is no such thing, but there are these."""
    names = ", ".join(sorted(known)) or "none"
    return NotFound(f"there is no {kind} {name!r}; known: {names}", param=param)
