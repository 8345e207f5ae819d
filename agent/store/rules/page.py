"""How much one read of the journal returns, however long its documents are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

CHARS = 4_000_000
"""Of the documents of a page. A document that is longer is a page of its own."""
EVENT_CHARS = 500_000
"""Of the events of one run, which many may be reading at a time."""


def page(documents: Iterable[T], limit: int, length: Callable[[T], int], most: int = CHARS) -> tuple[list[T], bool]:
    """The first of the documents, at most ``limit`` of them and ``most`` characters; and whether there are more."""
    found: list[T] = []
    chars = 0
    for document in documents:
        chars += length(document)
        if found and (len(found) == limit or chars > most):
            return found, True
        found.append(document)
    return found, False
