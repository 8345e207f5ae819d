"""Which conversations are learned from together: whole ones, side by side, without padding."""

from __future__ import annotations

import random
from collections.abc import Sequence

from model.tuner.examples import Example

Batch = tuple[Example, ...]


def batches(examples: Sequence[Example], tokens: int, seed: int) -> list[Batch]:
    """All examples in a random order that ``seed`` decides, in batches of up to ``tokens`` tokens.

    A longer example is a batch of its own.
    """
    order = list(examples)
    random.Random(seed).shuffle(order)
    found: list[Batch] = []
    batch: list[Example] = []
    size = 0
    for example in order:
        if batch and size + len(example) > tokens:
            found.append(tuple(batch))
            batch, size = [], 0
        batch.append(example)
        size += len(example)
    if batch:
        found.append(tuple(batch))
    return found
