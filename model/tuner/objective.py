"""What is minimised: the cross-entropy of the answers' tokens.

Suffixes: T tokens of a batch, D model width, N rows that predict a learned token, V vocabulary, A active experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model.nn.attention import NoCache
from model.nn.decoder import Decoder
from model.tuner.packing import Batch

SCORED = 256
"""Rows whose logits exist at a time: those of a whole batch would take gigabytes."""


@dataclass(frozen=True)
class Measured:
    """Of one batch.

    Attributes:
        loss: summed over the learned tokens, in nats; with a gradient where one was asked for.
        learned: how many these are.
        chosen_E: how many (token, layer) pairs chose each expert.
    """

    loss: Tensor
    learned: int
    chosen_E: Tensor


def measure(decoder: Decoder, batch: Batch, *, recompute: bool = False) -> Measured:
    """Runs a batch and scores only the rows that predict a learned token.

    Args:
        decoder: a mixture.
        batch: conversations, each of which sees only itself.
        recompute: whether each layer is computed again for its gradients instead of being remembered.
    """
    tokens_T = torch.tensor([token for example in batch for token in example.tokens])
    rows_N = torch.tensor(_predicting(batch))
    layout = decoder.dense_layout([len(example) for example in batch])
    x_TD = functional.embedding(tokens_T, decoder.embedding)
    rope = decoder.rope(layout.positions_T, x_TD.dtype)
    chosen_E = torch.zeros(decoder.config.experts, dtype=torch.int64)
    # As `Decoder.forward`, which remembers every layer and counts for the metrics.
    for block in decoder.blocks:
        if recompute:
            x_TD, choice_TA = checkpoint(block, x_TD, rope, NoCache(), layout, use_reentrant=False)
        else:
            x_TD, choice_TA = block(x_TD, rope, NoCache(), layout)
        chosen_E += choice_TA.flatten().bincount(minlength=decoder.config.experts)
    hidden_ND = decoder.norm(x_TD[rows_N])
    target_N = tokens_T[rows_N + 1]
    loss = torch.zeros(())
    for part_ND, part_N in zip(torch.split(hidden_ND, SCORED), torch.split(target_N, SCORED), strict=True):
        loss = loss + checkpoint(_cross_entropy, decoder, part_ND, part_N, use_reentrant=False)
    return Measured(loss, len(rows_N), chosen_E)


def _predicting(batch: Batch) -> list[int]:
    """Rows of the flat batch whose next token is learned."""
    rows: list[int] = []
    start = 0
    for example in batch:
        rows += [start + place - 1 for place, learned in enumerate(example.learned) if learned and place]
        start += len(example)
    return rows


def _cross_entropy(decoder: Decoder, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
    return functional.cross_entropy(decoder.logits(hidden_ND), target_N, reduction="sum")
