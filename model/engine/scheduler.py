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


class _Plan:
    """How many tokens of whom the next step computes, within its budget."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.counts: dict[Sequence, int] = {}

    def take(self, sequence: Sequence) -> None:
        count = min(sequence.pending, self.left)
        self.counts[sequence] = count
        self.left -= count

    def drop(self, sequence: Sequence) -> None:
        self.left += self.counts.pop(sequence, 0)


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
        plan = _Plan(self.step_tokens)
        before = self.preemptions
        decodes = [each for each in self.running if each.decoding]
        prefills = [each for each in self.running if not each.decoding]
        for sequence in decodes:
            self._advance(sequence, plan)
        # Who waits comes before running prefills that rank lower, but not where a running one has just given way:
        # the place would be lost again.
        for sequence in prefills:
            if self.preemptions == before:
                self._admit(plan, sequence.rank)
            self._advance(sequence, plan)
        if self.preemptions == before:
            self._admit(plan)
        slices = [Slice(sequence, count, count == sequence.pending) for sequence, count in plan.counts.items()]
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

    def _advance(self, sequence: Sequence, plan: _Plan) -> None:
        """Plans the next tokens of a running sequence, unless it has lost its place."""
        if sequence.blocks and plan.left and self._reserve(sequence, plan):
            plan.take(sequence)

    def _reserve(self, sequence: Sequence, plan: _Plan) -> bool:
        """Sees that the sequence has blocks for all its tokens; False if it had to give way itself."""
        missing = self.pool.blocks_for(len(sequence.tokens)) - len(sequence.blocks)
        while missing > self.pool.available:
            victim = self.running[-1]
            plan.drop(victim)
            self._preempt(victim)
            if victim is sequence:
                return False
        if missing > 0:
            self.pool.grow(sequence.blocks, missing)
        return True

    def _admit(self, plan: _Plan, before: tuple[int, int] | None = None) -> None:
        """Lets in who waits and ranks before ``before``, as long as there is room."""
        while self.waiting and plan.left:
            sequence = self.waiting[0]
            if before is not None and sequence.rank > before:
                return
            while not self._place(sequence):
                worst = self.running[-1] if self.running else None
                if worst is None or worst.rank[0] <= sequence.rank[0]:
                    return
                plan.drop(worst)
                self._preempt(worst)
            self.waiting.remove(sequence)
            insort(self.running, sequence, key=_rank)
            plan.take(sequence)

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
