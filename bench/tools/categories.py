"""What is measured: categories of the Berkeley Function Calling Leaderboard, and the rows that they make."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import BenchError

SEED = 7


class Kind(StrEnum):
    """What counts as right."""

    ARGUMENTS = "arguments"
    """The calls that were meant, with one of the values that are allowed for each argument."""
    CHOICE = "choice"
    """To call something, or nothing."""
    TURNS = "turns"
    """Services that are in the end as they were meant to be, after each turn of a scripted user."""


@dataclass(frozen=True)
class Category:
    """One of the leaderboard's files of cases."""

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
"""Rows and the categories whose cases they are made of, each case with the same weight."""


def chosen(names: Collection[str]) -> list[Category]:
    """The categories of these names; none: all of them.

    Raises:
        BenchError: naming what isn't known.
    """
    known = {category.name: category for category in CATEGORIES}
    if unknown := sorted(set(names) - set(known)):
        raise BenchError(f"no category is called {unknown[0]!r}; there are {', '.join(known)}")
    return [category for name, category in known.items() if not names or name in names]


def sample(size: int, wanted: int | None) -> list[int]:
    """Places of an even sample, the same each time; of all ``size`` cases where none or more are wanted."""
    if wanted is None or wanted >= size:
        return list(range(size))
    offset = random.Random(SEED).random()
    return [int((each + offset) * size / wanted) for each in range(wanted)]
