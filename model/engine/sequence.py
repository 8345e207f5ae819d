"""A running or waiting request: its tokens and its KV blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from model.engine.block_groups import HeldBlocks
from model.engine.request import RANKS, EngineRequest


@dataclass(eq=False)
class Sequence:
    """A request in the scheduler. ``tokens``: prompt and answer; the first ``computed`` of them are in the KV cache."""

    request: EngineRequest
    arrival: int  # order of arrival
    epoch: int  # interrupt epoch at its admission
    tokens: list[int] = field(default_factory=list)
    blocks: HeldBlocks = field(default_factory=HeldBlocks)  # its KV blocks
    keys: list[bytes] = field(default_factory=list)
    """Prefix keys of the full blocks of ``tokens``, computed on demand."""
    computed: int = 0
    published: int = 0
    """Number of leading blocks that are published for reuse."""
    cached: int | None = None
    """Prompt tokens found in the prefix cache at the first admission; None before that."""
    preemptions: int = 0  # how often it lost its blocks

    rank: tuple[int, int] = field(init=False)
    """Priority and order of arrival. Smaller ranks are scheduled first."""

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)
        self.rank = RANKS[self.request.priority], self.arrival

    @property
    def decoding(self) -> bool:
        """Whether the whole prompt is in the KV cache."""
        return self.computed >= len(self.request.prompt)

    @property
    def pending(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)


def common_prefix(left: Iterable[int], right: Iterable[int]) -> int:
    """Length of the common prefix."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
