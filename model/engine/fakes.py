"""Fakes of the engine's dependencies, for tests and experiments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flightloop.chat import Tags
from model.engine.runner import Runner, StepBatch


class ManualStop:
    """Emergency stop operated by hand."""

    def __init__(self) -> None:
        self.polls = 0
        self._epoch = 0
        self._raised: list[tuple[int, str | None]] = []
        self._active: set[str | None] = set()

    def pull(self, session_id: str | None = None) -> None:
        """Stops a session, or everything."""
        self._epoch += 1
        self._raised.append((self._epoch, session_id))
        self._active.add(session_id)

    def clear(self) -> None:
        """Admits new requests again. Requests admitted before stay stopped."""
        self._active.clear()

    def poll(self) -> None:
        self.polls += 1

    def epoch(self) -> int:
        return self._epoch

    def stopped(self, tags: Tags, admitted_epoch: int) -> bool:
        later = {session for epoch, session in self._raised if epoch > admitted_epoch}
        return any(session is None or session == tags.session_id for session in later | self._active)


class ContextRunner:
    """Runner whose logits depend on a hash of the whole context, read back from the blocks that it wrote.

    So any mistake of the engine (in positions, blocks, prefixes or drafts) changes the answer. Most logits depend on
    the last token only, so answers sometimes repeat themselves, as real ones do.

    Args:
        vocabulary: V.
        blocks, block_size: those of the pool.
        favourites: tokens that answers consist of, unless a grammar forces others.
    """

    def __init__(self, vocabulary: int, blocks: int, block_size: int, favourites: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self._scores = torch.randn(32, vocabulary, generator=generator)
        self._memory = [-1] * (blocks * block_size)
        self._block_size = block_size
        self._favourites = list(favourites)
        self.steps = 0
        self.rows = 0

    def run(self, batch: StepBatch) -> Tensor:
        self.steps += 1
        scored = []
        for step in batch.sequences:
            slots = [
                step.blocks[place // self._block_size] * self._block_size + place % self._block_size
                for place in range(step.start + len(step.tokens))
            ]
            for slot, token in zip(slots[step.start :], step.tokens, strict=True):
                self._memory[slot] = token
            context = tuple(self._memory[slot] for slot in slots)
            self.rows += len(step.tokens)
            scored += [self.scores(context[: len(context) - left]) for left in reversed(range(step.logits))]
        return torch.stack(scored) if scored else self._scores[:0]

    def scores(self, context: tuple[int, ...]) -> Tensor:
        """(V,) logits of the next token."""
        whole = hash(context)
        key = whole if whole % 8 == 0 else hash(context[-1:])
        scores_V = self._scores[key % len(self._scores)].clone()
        scores_V[self._favourites[key // 64 % len(self._favourites)]] += 20
        return scores_V

    def expert_tokens(self) -> Sequence[int]:
        return []


class BreakingRunner:
    """Runs like another runner until ``broken`` is set, and then raises."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.broken = False

    def run(self, batch: StepBatch) -> Tensor:
        if self.broken:
            raise ConnectionError("the shard is gone")
        return self._runner.run(batch)

    def expert_tokens(self) -> Sequence[int]:
        return self._runner.expert_tokens()
