"""What is minimised: the cross-entropy of the answers' tokens.

Suffixes: T tokens of a batch, D model width, N rows that predict a learned token, V vocabulary, A active experts,
B conversations of a batch, L layers, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model.nn.attention import NoCache
from model.nn.decoder import Decoder
from model.tuner.examples import Example
from model.tuner.packing import Batch

SCORED = 256
"""Rows whose logits exist at a time: those of a whole batch would take gigabytes."""


@dataclass(frozen=True)
class Measured:
    """Of one batch.

    Attributes:
        loss: summed over what is counted, in nats; with a gradient where one was asked for.
        count: learned tokens, or pairs of answers.
        chosen_LE: how many tokens chose each expert in each layer.
    """

    loss: Tensor
    count: int
    chosen_LE: Tensor


@dataclass(frozen=True)
class Losses:
    """Of the learned tokens of one batch.

    Attributes:
        loss_N: of each, in nats.
        conversation_N: which of the batch it belongs to.
        chosen_LE: how many tokens chose each expert in each layer.
    """

    loss_N: Tensor
    conversation_N: Tensor
    chosen_LE: Tensor

    def by_conversation(self, count: int) -> Tensor:
        """The sum of each conversation's losses, (B,)."""
        return torch.zeros(count).index_add(0, self.conversation_N, self.loss_N)


Item = TypeVar("Item", bound=Sized)


class Objective(Protocol[Item]):
    """What a tuning minimises.

    Attributes:
        items: what is learned from; their length is in tokens.
    """

    @property
    def items(self) -> Sequence[Item]: ...

    def measure(self, batch: Sequence[Item]) -> Measured:
        """The loss of some of the items, with its gradient."""
        ...


@dataclass(frozen=True)
class Supervised:
    """Answers as they stand in the examples."""

    decoder: Decoder
    items: Sequence[Example]
    recompute: bool = False

    def measure(self, batch: Sequence[Example]) -> Measured:
        return measure(self.decoder, tuple(batch), recompute=self.recompute)


def measure(decoder: Decoder, batch: Batch, *, recompute: bool = False) -> Measured:
    """The supervised loss of a batch; arguments as for `losses`."""
    found = losses(decoder, batch, recompute=recompute)
    return Measured(found.loss_N.sum(), len(found.loss_N), found.chosen_LE)


def losses(decoder: Decoder, batch: Batch, *, recompute: bool = False) -> Losses:
    """Runs a batch and scores only the rows that predict a learned token.

    Args:
        decoder: a mixture or a dense model.
        batch: conversations, each of which sees only itself.
        recompute: whether each layer is computed again for its gradients instead of being remembered.
    """
    tokens_T = torch.tensor([token for example in batch for token in example.tokens])
    rows, conversations = _predicting(batch)
    rows_N = torch.tensor(rows)
    layout = decoder.dense_layout([len(example) for example in batch])
    x_TD = functional.embedding(tokens_T, decoder.embedding)
    rope = decoder.rope(layout.positions_T, x_TD.dtype)
    chosen: list[Tensor] = []
    # As `Decoder.forward`, which remembers every layer and counts for the metrics.
    for block in decoder.blocks:
        if recompute:
            x_TD, choice_TA = checkpoint(block, x_TD, rope, NoCache(), layout, use_reentrant=False)
        else:
            x_TD, choice_TA = block(x_TD, rope, NoCache(), layout)
        experts = torch.empty(0, dtype=torch.int64) if choice_TA is None else choice_TA.flatten()
        chosen.append(experts.bincount(minlength=decoder.config.experts))
    hidden_ND = decoder.norm(x_TD[rows_N])
    target_N = tokens_T[rows_N + 1]
    pairs = zip(torch.split(hidden_ND, SCORED), torch.split(target_N, SCORED), strict=True)
    parts = [checkpoint(_cross_entropy, decoder, part_ND, part_N, use_reentrant=False) for part_ND, part_N in pairs]
    return Losses(torch.cat(parts), torch.tensor(conversations), torch.stack(chosen))


def _predicting(batch: Batch) -> tuple[list[int], list[int]]:
    """Rows of the flat batch whose next token is learned, and the conversation of each."""
    rows: list[int] = []
    conversations: list[int] = []
    start = 0
    for number, example in enumerate(batch):
        found = [start + place - 1 for place, learned in enumerate(example.learned) if learned and place]
        rows += found
        conversations += [number] * len(found)
        start += len(example)
    return rows, conversations


def _cross_entropy(decoder: Decoder, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
    return functional.cross_entropy(decoder.logits(hidden_ND), target_N, reduction="none")
