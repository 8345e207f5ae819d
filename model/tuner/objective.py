"""Training loss: the cross-entropy of the answers' tokens.

Suffixes: T tokens of a batch, D model width, N rows that predict a learned token, V vocabulary, A active experts,
B conversations of a batch, L layers, E experts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model.nn.attention import NoCache
from model.nn.decoder import Decoder
from model.tuner.packing import Batch
from model.tuner.sharing import Group, Laid, lay

SCORED = 256
"""Number of rows whose logits are in memory at a time: the logits of a whole batch would take gigabytes."""


@dataclass(frozen=True)
class Measured:
    """Loss of a batch.

    Attributes:
        loss: sum over the counted items, in nats; differentiable if gradients are enabled.
        count: number of learned tokens, or of pairs of answers.
        chosen_LE: tokens routed to each expert in each layer.
    """

    loss: Tensor
    count: int
    chosen_LE: Tensor


@dataclass(frozen=True)
class Losses:
    """Losses of the learned tokens of a batch.

    Attributes:
        loss_N: loss of each token, in nats.
        conversation_N: index of each token's conversation in the batch.
        chosen_LE: tokens routed to each expert in each layer.
    """

    loss_N: Tensor
    conversation_N: Tensor
    chosen_LE: Tensor

    def by_conversation(self, count: int) -> Tensor:
        """Sum of each conversation's losses, (B,)."""
        return torch.zeros(count).index_add(0, self.conversation_N, self.loss_N)


Item = TypeVar("Item", bound=Sized)


class Objective(Protocol[Item]):
    """Training objective: items to train on, and their loss.

    Attributes:
        items: training items; ``len`` of an item is its number of tokens.
    """

    @property
    def items(self) -> Sequence[Item]: ...

    def measure(self, batch: Sequence[Item]) -> Measured:
        """Differentiable loss of a batch of items."""
        ...


@dataclass(frozen=True)
class Supervised:
    """Objective that trains on the answers of examples, which are grouped by common prefix."""

    decoder: Decoder
    items: Sequence[Group]
    recompute: bool = False

    def measure(self, batch: Sequence[Group]) -> Measured:
        examples = tuple(example for group in batch for example in group.examples)
        return measure(self.decoder, examples, recompute=self.recompute)


def measure(decoder: Decoder, batch: Batch, *, recompute: bool = False) -> Measured:
    """Supervised loss of a batch; arguments as for `losses`."""
    found = losses(decoder, batch, recompute=recompute)
    return Measured(found.loss_N.sum(), len(found.loss_N), found.chosen_LE)


def losses(decoder: Decoder, batch: Batch, *, recompute: bool = False) -> Losses:
    """Runs a batch and scores only the rows that predict a learned token.

    Args:
        decoder: a mixture of experts or a dense model.
        batch: conversations; none attends to another.
        recompute: recompute each layer for its gradients instead of storing activations.
    """
    laid = lay(batch)
    tokens_T = torch.tensor(laid.tokens)
    row_N, target_N, conversation_N = map(torch.tensor, zip(*_predicting(batch, laid), strict=True))
    layout = decoder.dense_layout(laid.lengths, laid.begun)
    x_TD = decoder.embedding(tokens_T)
    rope = decoder.rope(layout.positions_T, x_TD.dtype)
    chosen: list[Tensor] = []
    # Like `Decoder.forward`, but without counting for the metrics, and able to recompute layers.
    for block in decoder.blocks:
        if recompute:
            x_TD, choice_TA = checkpoint(block, x_TD, rope, NoCache(), layout, use_reentrant=False)
        else:
            x_TD, choice_TA = block(x_TD, rope, NoCache(), layout)
        experts = torch.empty(0, dtype=torch.int64) if choice_TA is None else choice_TA.flatten()
        chosen.append(experts.bincount(minlength=decoder.config.experts))
    hidden_ND = decoder.norm(x_TD[row_N])
    pairs = zip(torch.split(hidden_ND, SCORED), torch.split(target_N, SCORED), strict=True)
    parts = [checkpoint(_cross_entropy, decoder, part_ND, part_N, use_reentrant=False) for part_ND, part_N in pairs]
    return Losses(torch.cat(parts), conversation_N, torch.stack(chosen))


def _predicting(batch: Batch, laid: Laid) -> Iterator[tuple[int, int, int]]:
    """For each learned token: the row that predicts it, the token, and its conversation."""
    for number, (example, rows) in enumerate(zip(batch, laid.rows, strict=True)):
        for place, learned in enumerate(example.learned):
            if learned and place:
                yield rows[place - 1], example.tokens[place], number


def _cross_entropy(decoder: Decoder, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
    return functional.cross_entropy(decoder.logits(hidden_ND), target_N, reduction="none")
