"""Schedules the work of each step. Deterministic, without torch.

A step mixes decodes (always first) with chunks of prefills, within a token budget. A sequence reserves the
blocks of all its tokens when it is admitted, and one more whenever they are full. If there is none, the
running sequence of the lowest rank is preempted: it returns its blocks and is recomputed later. A waiting
sequence of a higher priority preempts a lower one in the same way.

A few more tokens add little to the cost of a small step, so it is filled up with draft tokens to
verify. Drafts never preempt a sequence.
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
"""Drafts the next tokens of a sequence, at most the given number."""

_rank = attrgetter("rank")


@dataclass(frozen=True, slots=True)
class Slice:
    """The next ``count`` tokens of a sequence, from ``computed`` on, and the drafts after them."""

    sequence: Sequence
    count: int
    samples: bool
    """Whether the slice includes the sequence's last token, so that the next one can be sampled."""
    drafts: tuple[int, ...] = ()


class _Plan:
    """Tokens per sequence in the next step, within its budget."""

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
        slots: maximum number of sequences that run at once.
        step_tokens: maximum number of tokens per step, at least ``slots``.
        draft_tokens: steps are filled up to this number of tokens with drafts.
    """

    def __init__(self, pool: BlockGroups, slots: int, step_tokens: int, draft_tokens: int = 0) -> None:
        assert step_tokens >= slots > 0
        self.pool = pool
        self.slots = slots
        self.step_tokens = step_tokens
        self.draft_tokens = min(draft_tokens, step_tokens)
        self.running: list[Sequence] = []  # highest rank first
        self.waiting: list[Sequence] = []
        self.preemptions = 0

    def add(self, sequence: Sequence) -> None:
        insort(self.waiting, sequence, key=_rank)

    def remove(self, sequence: Sequence) -> None:
        """Removes a running or waiting sequence and frees its blocks at once."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._free(sequence)

    def schedule(self, guess: Guess | None = None) -> list[Slice]:
        """Plans the next step, and reserves the blocks of every slice."""
        plan = _Plan(self.step_tokens)
        before = self.preemptions
        decodes = [each for each in self.running if each.decoding]
        prefills = [each for each in self.running if not each.decoding]
        for sequence in decodes:
            self._advance(sequence, plan)
        # Waiting sequences precede running prefills of a lower rank, unless a running one was just preempted: then they
        # would soon be preempted too.
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
        """Records a finished step: its tokens are in the KV cache, and its full blocks can be reused.

        Accepted drafts count as computed too.
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
        """Plans the next tokens of a running sequence, unless it was preempted."""
        if sequence.blocks and plan.left and self._reserve(sequence, plan):
            plan.take(sequence)

    def _reserve(self, sequence: Sequence, plan: _Plan) -> bool:
        """Reserves blocks for all tokens of the sequence. False if the sequence itself was preempted."""
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
        """Admits waiting sequences that rank before ``before`` while there is room."""
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
        """Reserves a waiting sequence's blocks; False if there is no room. Cached tokens count as computed."""
        if len(self.running) >= self.slots:
            return False
        size = self.pool.block_size
        extend_keys(sequence.keys, sequence.tokens, size, sequence.request.tags.tenant_id)
        cached = self.pool.match(sequence.keys[: (len(sequence.tokens) - 1) // size])
        missing = self.pool.blocks_for(len(sequence.tokens)) - len(cached)
        # One block per running sequence stays free; otherwise the first to grow would preempt this one.
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
        """Adds drafts where the next token is sampled, in even shares of the step's free room."""
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
        """Number of draft tokens that fit into the sequence's blocks and into free ones that no other will need."""
        free = max(0, self.pool.available - len(self.running))
        return (len(sequence.blocks) + free) * self.pool.block_size - len(sequence.tokens)

    def _grow(self, sequence: Sequence, drafts: int) -> None:
        missing = self.pool.blocks_for(len(sequence.tokens) + drafts) - len(sequence.blocks)
        if missing > 0:
            self.pool.grow(sequence.blocks, missing)

    def _shrink(self, sequence: Sequence) -> None:
        """Returns blocks that only rejected drafts needed."""
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
