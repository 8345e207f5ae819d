"""Measured categories of the Berkeley Function Calling Leaderboard, and their rows."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import BenchError

SEED = 7


class Kind(StrEnum):
    """Criterion for a right answer."""

    ARGUMENTS = "arguments"
    """The expected calls, each argument with one of its permitted values."""
    CHOICE = "choice"
    """Only whether the model calls a tool."""
    TURNS = "turns"
    """State of simulated services after each turn of a scripted user."""


@dataclass(frozen=True)
class Category:
    """A category of the leaderboard's cases."""

    name: str
    kind: Kind


CATEGORIES: tuple[Category, ...] = (
    Category("simple_python", Kind.ARGUMENTS),
    Category("multiple", Kind.ARGUMENTS),
    Category("parallel", Kind.ARGUMENTS),
    Category("parallel_multiple", Kind.ARGUMENTS),
    Category("irrelevance", Kind.CHOICE),
    Category("live_simple", Kind.ARGUMENTS),
    Category("live_multiple", Kind.ARGUMENTS),
    Category("live_parallel", Kind.ARGUMENTS),
    Category("live_parallel_multiple", Kind.ARGUMENTS),
    Category("live_irrelevance", Kind.CHOICE),
    Category("live_relevance", Kind.CHOICE),
    Category("multi_turn_base", Kind.TURNS),
)

ROWS: Mapping[str, tuple[str, ...]] = {
    "bfcl_live_ast": ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
    "bfcl_irrelevance": ("irrelevance", "live_irrelevance"),
    "bfcl_relevance": ("live_relevance",),
    "bfcl_simple_python": ("simple_python",),
    "bfcl_multiple": ("multiple",),
    "bfcl_parallel": ("parallel",),
    "bfcl_parallel_multiple": ("parallel_multiple",),
    "bfcl_multi_turn_base": ("multi_turn_base",),
}
"""Rows and their categories; all cases of a row have the same weight."""


def chosen(names: Collection[str]) -> list[Category]:
    """Categories with these names; all if there are none.

    Raises:
        BenchError: an unknown name.
    """
    known = {category.name: category for category in CATEGORIES}
    if unknown := sorted(set(names) - set(known)):
        raise BenchError(f"unknown category {unknown[0]!r}; choose from {', '.join(known)}")
    return [category for name, category in known.items() if not names or name in names]


def sample(size: int, wanted: int | None) -> list[int]:
    """Indices of an even, deterministic sample; all ``size`` indices if ``wanted`` is None or larger."""
    if wanted is None or wanted >= size:
        return list(range(size))
    offset = random.Random(SEED).random()
    return [int((each + offset) * size / wanted) for each in range(wanted)]
