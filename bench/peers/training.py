"""Tasks of trainers, and the rows that they train on. Needs only the standard library.

A trainer is a script like every peer (`bench.peers.protocol`). Ours is one too, so that time and memory are measured
the same way. All support the options ``rows``, a file made by `write`; ``threads``; ``step_tokens``, most tokens per
step; ``recompute``: recompute layers for their gradients; and the tasks

========================  ==========================================================================================
``about``                 ``version``; ``trained``, how many parameters
``memory``                ``rss``, ``peak``: bytes of the process and its children
``train``, steps          ``seconds``; ``tokens`` trained on, with prompts, without padding; ``padded``: the same with
                          padding; ``loss``: mean of a learned token in the last step. Takes the next batches of the
                          rows, and starts again after the last one
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
    """A row: its token ids, and for each whether it is learned."""

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
    """Batches of up to ``tokens`` tokens, without padding, of rows with similar lengths.

    So little padding is needed. The order of the batches is random by ``seed``; a longer row is a batch of its own.
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
