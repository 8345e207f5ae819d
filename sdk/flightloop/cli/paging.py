"""Lists that take several pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from flightloop.runs import Page

T = TypeVar("T")


def every(list_page: Callable[..., Page[T]], **query: Any) -> Iterator[T]:
    """All entries of a list of the API.

    Args:
        list_page: a client's method, such as ``client.keys.list``.
        query: its arguments, without ``after``.
    """
    after: str | None = None
    while True:
        page = list_page(**query, after=after)
        yield from page.data
        if not page.has_more:
            return
        after = page.next_after
