"""Stand-ins for what the engine is given, for tests and trials."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flightloop.chat import Tags
from model.engine.runner import Runner, StepBatch


class ManualStop:
    """An emergency stop worked by hand; it never rings by itself."""

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
        """Lets new requests in; what was admitted before stays stopped."""
        self._active.clear()

    def poll(self) -> None:
        self.polls += 1

    def epoch(self) -> int:
        return self._epoch

    def stopped(self, tags: Tags, admitted_epoch: int) -> bool:
        later = {session for epoch, session in self._raised if epoch > admitted_epoch}
        return any(session is None or session == tags.session_id for session in later | self._active)


class ContextRunner:
    """Scores by a hash of the whole context, which it reads back from the blocks it was told to write to.

    Whatever the engine mixes up (positions, blocks, prefixes, drafts) changes the answer. Most scores depend on
    the last token only, so that answers repeat themselves now and then, as real ones do.

    Args:
        vocabulary: V.
        blocks, block_size: of the pool.
        favourites: the tokens that answers consist of, where no grammar has a say.
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
        """(V,) logits of what follows."""
        whole = hash(context)
        key = whole if whole % 8 == 0 else hash(context[-1:])
        scores_V = self._scores[key % len(self._scores)].clone()
        scores_V[self._favourites[key // 64 % len(self._favourites)]] += 20
        return scores_V

    def expert_tokens(self) -> Sequence[int]:
        return []


class BreakingRunner:
    """Runs like another runner until ``broken`` is set, then raises."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.broken = False

    def run(self, batch: StepBatch) -> Tensor:
        if self.broken:
            raise ConnectionError("the shard is gone")
        return self._runner.run(batch)

    def expert_tokens(self) -> Sequence[int]:
        return self._runner.expert_tokens()
