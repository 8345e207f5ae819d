"""Duplicates: rows whose users say, and whose assistants call, the same or nearly the same."""

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
        rows: the first of each kind, in order.
        exact: rows that said and called exactly what an earlier one did.
        near: rows that were too similar to an earlier one.
    """

    rows: tuple[Row, ...]
    exact: int
    near: int


def distinct(
    rows: Sequence[Row], similar: float = SIMILAR, told: Callable[[int], None] = lambda done: None
) -> Distinct:
    """Leaves out what an earlier row said already.

    Args:
        rows: any rows with calls that can be read.
        similar: estimated Jaccard similarity of the users' words and the calls from which on a row is left out.
        told: hears how many rows were compared.
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
    """What is the same in exact duplicates: the words, and the calls in their order."""
    calls = [(name, arguments) for _, name, arguments in calls_of(row)]
    return json.dumps([words_of(user_text(row)), calls], sort_keys=True)


def _parts(row: Row) -> set[str]:
    parts = shingles(words_of(user_text(row)))
    for _, name, arguments in calls_of(row):
        parts.add(f"{name}()")
        parts |= {f"{name}.{key}={json.dumps(value, sort_keys=True)}" for key, value in arguments.items()}
    return parts
