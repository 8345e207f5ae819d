"""Decides what the next step computes. Deterministic, and free of torch.

One step mixes decodes (always first) with chunks of prefills, up to a budget of tokens. A sequence reserves
the blocks of all its tokens when it is admitted, and one more whenever it outgrows them. When none is left,
the running sequence that ranks last gives its blocks back and is recomputed later. A waiting sequence of a
higher priority takes the place of a lower one the same way.

A step with few tokens costs little more with a few more of them: it is filled up with drafts, guesses at the
next tokens that it checks on the way. Nobody gives way to a draft.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from model.engine.block_groups import BlockGroups
from model.engine.block_pool import extend_keys
from model.engine.sequence import Sequence, common_prefix

Guess = Callable[[Sequence, int], list[int]]
"""Guesses the next tokens of a sequence, at most so many."""

_rank = attrgetter("rank")


@dataclass(frozen=True, slots=True)
class Slice:
    """The next ``count`` tokens of a sequence, from its ``computed`` on, and the drafts after them."""

    sequence: Sequence
    count: int
    samples: bool
    """Whether it reaches the last token, so that the next one can be drawn."""
    drafts: tuple[int, ...] = ()


class Scheduler:
    """Continuous batching over the blocks of the KV cache.

    Args:
        pool: must hold the blocks of the longest possible sequence.
        slots: most sequences that run at once.
        step_tokens: most tokens of one step, at least ``slots``.
        draft_tokens: a step is filled with drafts up to so many tokens, but no further.
    """

    def __init__(self, pool: BlockGroups, slots: int, step_tokens: int, draft_tokens: int = 0) -> None:
        assert step_tokens >= slots > 0
        self.pool = pool
        self.slots = slots
        self.step_tokens = step_tokens
        self.draft_tokens = min(draft_tokens, step_tokens)
        self.running: list[Sequence] = []  # best rank first
        self.waiting: list[Sequence] = []
        self.preemptions = 0

    def add(self, sequence: Sequence) -> None:
        insort(self.waiting, sequence, key=_rank)

    def remove(self, sequence: Sequence) -> None:
        """Forgets a running or waiting sequence; its blocks are free at once."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._free(sequence)

    def schedule(self, guess: Guess | None = None) -> list[Slice]:
        """The next step's work; every slice has its blocks."""
        chosen: dict[Sequence, int] = {}
        budget = self.step_tokens
        before = self.preemptions
        decodes = [each for each in self.running if each.decoding]
        prefills = [each for each in self.running if not each.decoding]
        for sequence in decodes + prefills:
            # One without blocks has just been preempted.
            if sequence.blocks and budget and self._reserve(sequence, chosen):
                chosen[sequence] = min(sequence.pending, budget)
                budget -= chosen[sequence]
        if self.preemptions == before:  # else the place just made would be lost again
            self._admit(chosen, budget)
        slices = [Slice(sequence, count, count == sequence.pending) for sequence, count in chosen.items()]
        if guess is not None:
            slices = self._fill(slices, guess)
        for each in slices:
            self.pool.cover(each.sequence.blocks, each.sequence.computed + each.count + len(each.drafts))
        return slices

    def commit(self, slices: list[Slice]) -> None:
        """Books a step that ran: its tokens are in the KV cache, its full blocks can be reused.

        Drafts that the sequence's tokens have turned out to go on with are computed as well.
        """
        size = self.pool.block_size
        for each in slices:
            sequence = each.sequence
            sequence.computed += each.count
            if each.drafts:
                sequence.computed += common_prefix(each.drafts, sequence.tokens[sequence.computed :])
                self._shrink(sequence)
            if (sequence.published + 1) * size <= sequence.computed:
                extend_keys(sequence.keys, sequence.tokens, size, sequence.request.tags.tenant_id)
                for index in range(sequence.published, sequence.computed // size):
                    self.pool.publish(sequence.blocks, index, sequence.keys[index])
                sequence.published = sequence.computed // size
                self.pool.advance(sequence.blocks, sequence.computed)

    def check_integrity(self) -> None:
        """Raises AssertionError if blocks, sequences and limits disagree."""
        assert len(self.running) <= self.slots
        assert self.running == sorted(self.running, key=_rank)
        assert self.waiting == sorted(self.waiting, key=_rank)
        for sequence in self.running:
            assert sequence.computed <= len(sequence.blocks) * self.pool.block_size
            assert sequence.published <= sequence.computed // self.pool.block_size
            assert len(sequence.blocks) <= self.pool.blocks_for(len(sequence.tokens))
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
            self.pool.grow(sequence.blocks, missing)
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
            insort(self.running, sequence, key=_rank)
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
        sequence.computed = len(cached) * size
        sequence.published = len(cached)
        sequence.blocks = cached
        self.pool.grow(cached, missing)
        if sequence.cached is None:
            sequence.cached = sequence.computed
        return True

    def _fill(self, slices: list[Slice], guess: Guess) -> list[Slice]:
        """Adds drafts where the next token is drawn, in even shares of what the step has room for."""
        room = self.draft_tokens - sum(each.count for each in slices)
        sharing = sum(each.samples for each in slices)
        filled = []
        for each in slices:
            if each.samples and room > 0:
                drafts = guess(each.sequence, -(-room // sharing))[: self._spare(each.sequence)]
                room -= len(drafts)
                sharing -= 1
                if drafts:
                    self._grow(each.sequence, len(drafts))
                    filled.append(Slice(each.sequence, each.count, True, tuple(drafts)))
                    continue
            filled.append(each)
        return filled

    def _spare(self, sequence: Sequence) -> int:
        """Drafts that its blocks hold, with those that none of the running sequences would miss."""
        free = max(0, self.pool.available - len(self.running))
        return (len(sequence.blocks) + free) * self.pool.block_size - len(sequence.tokens)

    def _grow(self, sequence: Sequence, drafts: int) -> None:
        missing = self.pool.blocks_for(len(sequence.tokens) + drafts) - len(sequence.blocks)
        if missing > 0:
            self.pool.grow(sequence.blocks, missing)

    def _shrink(self, sequence: Sequence) -> None:
        """Gives back what only rejected drafts needed."""
        self.pool.shrink(sequence.blocks, self.pool.blocks_for(len(sequence.tokens)))

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._free(sequence)
        sequence.preemptions += 1
        self.preemptions += 1
        self.add(sequence)

    def _free(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.computed = sequence.published = 0
