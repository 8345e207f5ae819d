"""Conversations that begin alike: what they have in common is computed once for all of them.

An agent's instructions and tools stand before each of its conversations and are most of their tokens. A token's
activations follow from those before it alone, so a common beginning has the same ones in each conversation, and its
gradient is the sum of theirs: losses and gradients are those of the conversations side by side.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from model.tuner.examples import Example, common

ALIKE = 64
"""Tokens that conversations of one group have in common at least."""


@dataclass(frozen=True)
class Group:
    """Conversations that are learned from together. Its length is the tokens that are computed."""

    examples: tuple[Example, ...]
    tokens: int

    def __len__(self) -> int:
        return self.tokens


def grouped(examples: Sequence[Example], tokens: int, seed: int) -> list[Group]:
    """All examples, those that begin alike in groups of up to ``tokens`` tokens, drawn by ``seed``."""
    alike: dict[tuple[int, ...], list[Example]] = defaultdict(list)
    for example in examples:
        alike[example.tokens[:ALIKE]].append(example)
    groups: list[Group] = []
    for family in alike.values():
        random.Random(seed).shuffle(family)
        group: list[Example] = []
        size = 0
        for example in family:
            added = len(example) - (_shared(group[0], example) if group else 0)
            if group and size + added > tokens:
                groups.append(Group(tuple(group), size))
                group, size, added = [], 0, len(example)
            group.append(example)
            size += added
        groups.append(Group(tuple(group), size))
    return groups


@dataclass(frozen=True)
class Laid:
    """A batch as it is computed.

    Attributes:
        tokens: of all conversations, what some have in common once.
        rows: of each conversation, where its tokens stand there.
        lengths: tokens that each conversation brings; the others stand with one before it.
    """

    tokens: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]

    @property
    def begun(self) -> list[tuple[int, ...]]:
        """Rows of each conversation that another one brings."""
        return [rows[: len(rows) - length] for rows, length in zip(self.rows, self.lengths, strict=True)]


def lay(batch: Sequence[Example]) -> Laid:
    """Lays conversations side by side; one begins with rows of the first of its kind, or of the one before it."""
    tokens: list[int] = []
    rows: list[tuple[int, ...]] = []
    lengths: list[int] = []
    first: dict[tuple[int, ...], int] = {}
    for number, example in enumerate(batch):
        kin = {first.setdefault(example.tokens[:ALIKE], number), max(0, number - 1)} - {number}
        shared, other = max(((_shared(batch[one], example), one) for one in kin), default=(0, 0))
        begun = rows[other][:shared] if shared else ()
        own = example.tokens[len(begun) :]
        rows.append((*begun, *range(len(tokens), len(tokens) + len(own))))
        lengths.append(len(own))
        tokens += own
    return Laid(tuple(tokens), tuple(rows), tuple(lengths))


def _shared(first: Example, other: Example) -> int:
    length = common(first, other)
    return length if length >= ALIKE else 0
