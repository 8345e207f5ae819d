"""Tasks of trainers, and the rows that they train on. Needs only the standard library.

A trainer is a script like every peer (`bench.peers.protocol`). Ours is one too, so that time and memory are measured
the same way. All support the options ``rows``, a file written by `write`; ``threads``; ``step_tokens``, maximum tokens
per step; ``recompute``: recompute layers for their gradients; and the tasks

========================  ==========================================================================================
``about``                 ``version``; ``trained``, how many parameters
``memory``                ``rss``, ``peak``: bytes of the process and its children
``train``, steps          ``seconds``; ``tokens`` trained on, with prompts, without padding; ``padded``: the same with
                          padding; ``loss``: mean per learned token in the last step. Each task continues with the next
                          batches, and starts again after the last one
========================  ==========================================================================================
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lesson:
    """A row: token ids, and for each token whether it is learned."""

    tokens: Sequence[int]
    learned: Sequence[bool]

    def __len__(self) -> int:
        return len(self.tokens)


def write(path: Path, lessons: Iterable[Lesson]) -> None:
    """Writes rows, one JSON object per line."""
    path.write_text("".join(json.dumps(asdict(lesson)) + "\n" for lesson in lessons))


def read(path: Path) -> list[Lesson]:
    """Reads the rows of a file."""
    return [Lesson(**json.loads(line)) for line in path.read_text().splitlines()]


def by_length(lessons: Sequence[Lesson], tokens: int, seed: int) -> list[list[Lesson]]:
    """Batches of rows with similar lengths, so that little padding is needed.

    A batch has up to ``tokens`` tokens without padding; a longer row is a batch of its own. ``seed`` sets their order.
    """
    found: list[list[Lesson]] = []
    batch: list[Lesson] = []
    for lesson in sorted(lessons, key=len):
        if batch and sum(map(len, batch)) + len(lesson) > tokens:
            found.append(batch)
            batch = []
        batch.append(lesson)
    if batch:
        found.append(batch)
    random.Random(seed).shuffle(found)
    return found
