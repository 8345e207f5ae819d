"""Packs whole conversations into batches, side by side, without padding."""

from __future__ import annotations

import random
from collections.abc import Sequence, Sized
from typing import TypeVar

from model.tuner.examples import Example

Batch = tuple[Example, ...]
Item = TypeVar("Item", bound=Sized)


def batches(items: Sequence[Item], tokens: int, seed: int) -> list[tuple[Item, ...]]:
    """Shuffles items by ``seed`` and groups them into batches of up to ``tokens`` tokens.

    A longer item is a batch of its own.
    """
    order = list(items)
    random.Random(seed).shuffle(order)
    found: list[tuple[Item, ...]] = []
    batch: list[Item] = []
    size = 0
    for item in order:
        if batch and size + len(item) > tokens:
            found.append(tuple(batch))
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        found.append(tuple(batch))
    return found
