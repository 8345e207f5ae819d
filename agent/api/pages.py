"""Query parameters that every list takes, and pages of those that no database cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from flightloop.errors import NotFound
from flightloop.runs import Page

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Entries a page.")]
After = Annotated[str | None, Query(max_length=128, description="`next_after` of the page before.")]


def page_of(items: Sequence[T], ident: Callable[[T], str], after: str | None, limit: int) -> Page[T]:
    """A page of a list that is at hand whole, from behind the item ``after``. Raises NotFound."""
    start = 0
    if after is not None:
        idents = [ident(item) for item in items]
        if after not in idents:
            raise NotFound(f"after: the list has no {after!r}; leave it out to begin again", param="after")
        start = idents.index(after) + 1
    data, more = list(items[start : start + limit]), len(items) > start + limit
    return Page(data=data, has_more=more, next_after=ident(data[-1]) if more else None)


def unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, object], param: str) -> NotFound:
    """There is no such thing, but there are these."""
    names = ", ".join(sorted(known)) or "none"
    return NotFound(f"there is no {kind} {name!r}; known: {names}", param=param)
