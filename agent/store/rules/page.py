"""Page size of reads from the journal, in documents and characters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

CHARS = 4_000_000
"""Characters per page. A longer document is a page by itself."""
EVENT_CHARS = 500_000
"""Characters per page of one run's events, which many clients may read at the same time."""


def page(documents: Iterable[T], limit: int, length: Callable[[T], int], most: int = CHARS) -> tuple[list[T], bool]:
    """The first documents, at most ``limit`` and ``most`` characters, and whether there are more."""
    found: list[T] = []
    chars = 0
    for document in documents:
        chars += length(document)
        if found and (len(found) == limit or chars > most):
            return found, True
        found.append(document)
    return found, False
