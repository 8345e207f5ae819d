"""Pagination: query parameters, and pages of in-memory lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from flightloop.errors import NotFound
from flightloop.runs import Page

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Entries per page.")]
After = Annotated[str | None, Query(max_length=128, description="`next_after` of the previous page.")]


def page_of(items: Sequence[T], ident: Callable[[T], str], after: str | None, limit: int) -> Page[T]:
    """The page of an in-memory list that follows the item with the id ``after``. Raises NotFound if there is none."""
    start = 0
    if after is not None:
        idents = [ident(item) for item in items]
        if after not in idents:
            raise NotFound(f"after: the list has no {after!r}; leave it out to start again", param="after")
        start = idents.index(after) + 1
    data, more = list(items[start : start + limit]), len(items) > start + limit
    return Page(data=data, has_more=more, next_after=ident(data[-1]) if more else None)


def unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, object], param: str) -> NotFound:
    """NotFound error that lists the known names."""
    names = ", ".join(sorted(known)) or "none"
    return NotFound(f"there is no {kind} {name!r}; known: {names}", param=param)
