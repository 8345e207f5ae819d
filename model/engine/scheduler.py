"""Decides what the next step computes. Deterministic, and free of torch.

One step mixes decodes (one token each, always first) with chunks of prefills, up to a budget of
tokens. A sequence reserves the blocks of all its tokens when it is admitted, and one more whenever it
outgrows them. When none is left, the running sequence that ranks last gives its blocks back and is
recomputed later. A waiting sequence of a higher priority takes the place of a lower one the same way.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from model.engine.block_pool import BlockPool, extend_keys
from model.engine.sequence import Sequence


@dataclass(frozen=True)
class Slice:
    """The next ``count`` tokens of a sequence, from its ``computed`` on."""

    sequence: Sequence
    count: int

    @property
    def samples(self) -> bool:
        """Whether it reaches the last token, so that the next one can be drawn."""
        return self.count == self.sequence.pending


class Scheduler:
    """Continuous batching over a block pool.

    Args:
        pool: must hold the blocks of the longest possible sequence.
        slots: most sequences that run at once.
        step_tokens: most tokens of one step, at least ``slots``.
    """

    def __init__(self, pool: BlockPool, slots: int, step_tokens: int) -> None:
        assert step_tokens >= slots > 0
        self.pool = pool
        self.slots = slots
        self.step_tokens = step_tokens
        self.running: list[Sequence] = []  # best rank first
        self.waiting: list[Sequence] = []
        self.preemptions = 0

    def add(self, sequence: Sequence) -> None:
        insort(self.waiting, sequence, key=lambda each: each.rank)

    def remove(self, sequence: Sequence) -> None:
        """Forgets a running or waiting sequence; its blocks are free at once."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._free(sequence)

    def schedule(self) -> list[Slice]:
        """The next step's work; every slice has its blocks."""
        chosen: dict[Sequence, int] = {}
        budget = self.step_tokens
        before = self.preemptions
        for sequence in sorted(self.running, key=lambda each: (each.pending > 1, each.rank)):
            if sequence in self.running and budget and self._reserve(sequence, chosen):
                chosen[sequence] = min(sequence.pending, budget)
                budget = self.step_tokens - sum(chosen.values())
        if self.preemptions == before:  # else the place just made would be lost again
            self._admit(chosen, budget)
        return [Slice(sequence, count) for sequence, count in chosen.items()]

    def commit(self, slices: list[Slice]) -> None:
        """Books a step that ran: its tokens are in the KV cache, its full blocks can be reused."""
        size = self.pool.block_size
        for each in slices:
            sequence = each.sequence
            sequence.computed += each.count
            if (sequence.published + 1) * size <= sequence.computed:
                extend_keys(sequence.keys, sequence.tokens, size, sequence.request.tags.tenant_id)
                for index in range(sequence.published, sequence.computed // size):
                    self.pool.publish(sequence.blocks[index], sequence.keys[index])
                sequence.published = sequence.computed // size

    def check_integrity(self) -> None:
        """Raises AssertionError if blocks, sequences and limits disagree."""
        assert len(self.running) <= self.slots
        assert self.running == sorted(self.running, key=lambda each: each.rank)
        assert self.waiting == sorted(self.waiting, key=lambda each: each.rank)
        for sequence in self.running:
            assert sequence.computed <= len(sequence.blocks) * self.pool.block_size
            assert sequence.pending > 0
        for sequence in self.waiting:
            assert not sequence.blocks
            assert sequence.computed == 0
        self.pool.check_integrity([sequence.blocks for sequence in self.running])

    def _reserve(self, sequence: Sequence, chosen: dict[Sequence, int]) -> bool:
        """Sees that the sequence has blocks for all its tokens; False if it had to give way itself."""
        missing = self.pool.blocks_for(len(sequence.tokens)) - len(sequence.blocks)
        while missing > self.pool.available:
            victim = self.running[-1]
            chosen.pop(victim, None)
            self._preempt(victim)
            if victim is sequence:
                return False
        if missing > 0:
            sequence.blocks += self.pool.allocate(missing)
        return True

    def _admit(self, chosen: dict[Sequence, int], budget: int) -> None:
        while self.waiting and budget:
            sequence = self.waiting[0]
            while not self._place(sequence):
                worst = self.running[-1] if self.running else None
                if worst is None or worst.rank[0] <= sequence.rank[0]:
                    return
                budget += chosen.pop(worst, 0)
                self._preempt(worst)
            self.waiting.remove(sequence)
            insort(self.running, sequence, key=lambda each: each.rank)
            chosen[sequence] = min(sequence.pending, budget)
            budget -= chosen[sequence]

    def _place(self, sequence: Sequence) -> bool:
        """Gives a waiting sequence its blocks if there is room; what is cached counts as computed."""
        if len(self.running) >= self.slots:
            return False
        size = self.pool.block_size
        extend_keys(sequence.keys, sequence.tokens, size, sequence.request.tags.tenant_id)
        cached = self.pool.match(sequence.keys[: (len(sequence.tokens) - 1) // size])
        missing = self.pool.blocks_for(len(sequence.tokens)) - len(cached)
        # One block a running sequence stays free, else the first to grow would push this one out.
        if missing + len(self.running) > self.pool.available:
            self.pool.release(cached)
            return False
        sequence.blocks = cached + self.pool.allocate(missing)
        sequence.computed = len(cached) * size
        sequence.published = len(cached)
        if sequence.cached is None:
            sequence.cached = sequence.computed
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._free(sequence)
        sequence.preemptions += 1
        self.preemptions += 1
        self.add(sequence)

    def _free(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = sequence.published = 0
