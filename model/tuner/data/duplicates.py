"""Finds duplicates: rows with the same or nearly the same user messages and calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from model.tuner.data.row import Row, calls_of, user_text
from model.tuner.data.words import index, min_hash, shingles, words_of

SIMILAR = 0.85


@dataclass(frozen=True)
class Distinct:
    """Rows without duplicates.

    Attributes:
        rows: the first of each group of duplicates, in order.
        exact: number of exact duplicates.
        near: number of rows too similar to an earlier one.
    """

    rows: tuple[Row, ...]
    exact: int
    near: int


def distinct(
    rows: Sequence[Row], similar: float = SIMILAR, told: Callable[[int], None] = lambda done: None
) -> Distinct:
    """Removes duplicates of earlier rows.

    Args:
        rows: any rows with valid calls.
        similar: minimum estimated Jaccard similarity of duplicates, by user messages and calls.
        told: called with the number of rows compared so far.
    """
    found = index(similar)
    sketches: dict[int, Any] = {}
    seen: set[str] = set()
    kept: list[Row] = []
    exact = near = 0
    for number, row in enumerate(rows):
        told(number + 1)
        key = _key(row)
        if key in seen:
            exact += 1
            continue
        seen.add(key)
        sketch = min_hash(_parts(row))
        if any(sketches[other].jaccard(sketch) >= similar for other in found.query(sketch)):
            near += 1
            continue
        found.insert(number, sketch)
        sketches[number] = sketch
        kept.append(row)
    return Distinct(tuple(kept), exact, near)


def _key(row: Row) -> str:
    """Key of exact duplicates: the words, and the calls in order."""
    calls = [(name, arguments) for _, name, arguments in calls_of(row)]
    return json.dumps([words_of(user_text(row)), calls], sort_keys=True)


def _parts(row: Row) -> set[str]:
    parts = shingles(words_of(user_text(row)))
    for _, name, arguments in calls_of(row):
        parts.add(f"{name}()")
        parts |= {f"{name}.{key}={json.dumps(value, sort_keys=True)}" for key, value in arguments.items()}
    return parts
