"""Shares computation between conversations with a common prefix.

An agent's instructions and tools precede each of its conversations and make up most of their tokens. A token's
activations depend only on earlier tokens, so those of a common prefix are the same in each conversation, and its
gradient is the sum of the conversations' gradients. Losses and gradients equal those of separate computation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from model.tuner.examples import Example, common

ALIKE = 64
"""Shortest common prefix of the conversations of a group, in tokens."""


@dataclass(frozen=True)
class Group:
    """Conversations that are trained on together. ``tokens``: number of tokens to compute, common ones once."""

    examples: tuple[Example, ...]
    tokens: int

    def __len__(self) -> int:
        return self.tokens


def grouped(examples: Sequence[Example], tokens: int, seed: int) -> list[Group]:
    """Groups examples that share a long beginning, in random order by ``seed``.

    Chat templates begin with the same words whatever the tools are, so half of the tokens must be shared.

    Args:
        examples: conversations.
        tokens: most tokens of a group, unless it is a single longer conversation.
        seed: seed of the order within groups.
    """
    groups: list[Group] = []
    for family in _families(examples):
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


def _families(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples by their beginning: neighbours in the order of their tokens that are akin."""
    families: list[list[Example]] = []
    for example in sorted(examples, key=lambda each: each.tokens):
        before = families[-1][-1] if families else None
        if before is not None and _akin(before, example):
            families[-1].append(example)
        else:
            families.append([example])
    return families


@dataclass(frozen=True)
class Laid:
    """Layout of a batch.

    Attributes:
        tokens: tokens of all conversations, with shared prefixes only once.
        rows: for each conversation, the rows of its tokens.
        lengths: number of tokens that each conversation adds to the prefix that it shares with an earlier one.
    """

    tokens: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]

    @property
    def begun(self) -> list[tuple[int, ...]]:
        """For each conversation, the rows of the prefix that it shares with an earlier one."""
        return [rows[: len(rows) - length] for rows, length in zip(self.rows, self.lengths, strict=True)]


def lay(batch: Sequence[Example]) -> Laid:
    """Lays out conversations. Each reuses the rows of the longest prefix that it shares with an earlier one."""
    tokens: list[int] = []
    rows: list[tuple[int, ...]] = []
    lengths: list[int] = []
    for number, example in enumerate(batch):
        shared, other = max(((_shared(batch[one], example), one) for one in range(number)), default=(0, 0))
        begun = rows[other][:shared] if shared else ()
        own = example.tokens[len(begun) :]
        rows.append((*begun, *range(len(tokens), len(tokens) + len(own))))
        lengths.append(len(own))
        tokens += own
    return Laid(tuple(tokens), tuple(rows), tuple(lengths))


def _akin(first: Example, other: Example) -> bool:
    """Whether the shorter one shares half of its tokens."""
    return 2 * _shared(first, other) >= min(len(first), len(other))


def _shared(first: Example, other: Example) -> int:
    length = common(first, other)
    return length if length >= ALIKE else 0
