"""A request while it is being served: its tokens and the KV blocks that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.engine.request import RANKS, EngineRequest


@dataclass(eq=False)
class Sequence:
    """``tokens`` is the prompt and what was generated; the first ``computed`` of them are in the KV cache."""

    request: EngineRequest
    arrival: int
    epoch: int
    tokens: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    """Prefix keys of the full blocks of ``tokens``, as far as they were needed."""
    computed: int = 0
    published: int = 0
    """How many leading blocks are offered for reuse."""
    cached: int | None = None
    """Prompt tokens found in the cache at the first admission; None before that."""
    preemptions: int = 0

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)

    @property
    def rank(self) -> tuple[int, int]:
        return RANKS[self.request.priority], self.arrival

    @property
    def pending(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)
