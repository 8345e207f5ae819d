"""Training loss: the cross-entropy of the answers' tokens, or the divergence from a teacher's opinion on them.

Suffixes: T tokens of a batch, D model width, N rows that predict a learned token, V vocabulary, A active experts,
B conversations of a batch, L layers, E experts, K kept tokens of a teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

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


@dataclass(frozen=True)
class Opinion:
    """A teacher's likeliest tokens at each learned token.

    Attributes:
        token_NK: the tokens.
        log_NK: their log-probabilities; what is missing to one is the probability of all others.
    """

    token_NK: Tensor
    log_NK: Tensor


class Opinions(Protocol):
    """Opinions on examples, and their ``weight`` in the loss, 0 to 1."""

    @property
    def weight(self) -> float: ...

    def of(self, batch: Batch) -> Opinion: ...


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
    """Objective that trains on the answers of examples, which are grouped by common prefix.

    Attributes:
        decoder: the model to train.
        items: the examples.
        recompute: as for `losses`.
        teaching: a teacher's opinions, for distillation; None: only what the examples say.
    """

    decoder: Decoder
    items: Sequence[Group]
    recompute: bool = False
    teaching: Opinions | None = None

    def measure(self, batch: Sequence[Group]) -> Measured:
        examples = tuple(example for group in batch for example in group.examples)
        return measure(self.decoder, examples, recompute=self.recompute, teaching=self.teaching)


def measure(decoder: Decoder, batch: Batch, *, recompute: bool = False, teaching: Opinions | None = None) -> Measured:
    """Supervised loss of a batch; arguments as for `losses`."""
    found = losses(decoder, batch, recompute=recompute, teaching=teaching)
    return Measured(found.loss_N.sum(), len(found.loss_N), found.chosen_LE)


def losses(decoder: Decoder, batch: Batch, *, recompute: bool = False, teaching: Opinions | None = None) -> Losses:
    """Runs a batch and scores only the rows that predict a learned token.

    Args:
        decoder: a mixture of experts or a dense model.
        batch: conversations; none attends to another.
        recompute: recompute each layer for its gradients instead of storing activations.
        teaching: opinions of a teacher; their weight's share of the loss is the divergence from them.
    """
    run = _run(decoder, batch, recompute)
    pairs = zip(torch.split(run.hidden_ND, SCORED), torch.split(run.target_N, SCORED), strict=True)
    if teaching is None:
        weight_VD = decoder.head.weight_OI.detach()
        parts = [
            _CrossEntropy.apply(part_ND, weight_VD, part_N)  # type: ignore[no-untyped-call]
            for part_ND, part_N in pairs
        ]
    else:
        opinion = teaching.of(batch)
        views = zip(torch.split(opinion.token_NK, SCORED), torch.split(opinion.log_NK, SCORED), strict=True)
        parts = [
            checkpoint(_taught, decoder, part_ND, part_N, *view, teaching.weight, use_reentrant=False)
            for (part_ND, part_N), view in zip(pairs, views, strict=True)
        ]
    return Losses(torch.cat(parts), run.conversation_N, run.chosen_LE)


def opinions(decoder: Decoder, batch: Batch, kept: int) -> Opinion:
    """A model's ``kept`` likeliest tokens at each learned token of a batch."""
    hidden_ND = _run(decoder, batch, recompute=False).hidden_ND
    logs = [functional.log_softmax(decoder.logits(part).float(), -1) for part in torch.split(hidden_ND, SCORED)]
    best = [log_NV.topk(min(kept, log_NV.shape[-1]), -1) for log_NV in logs]
    return Opinion(torch.cat([each.indices for each in best]), torch.cat([each.values for each in best]))


@dataclass(frozen=True)
class _Run:
    """Hidden states of the rows that predict a learned token, that token, and its conversation."""

    hidden_ND: Tensor
    target_N: Tensor
    conversation_N: Tensor
    chosen_LE: Tensor


def _run(decoder: Decoder, batch: Batch, recompute: bool) -> _Run:
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
    return _Run(decoder.norm(x_TD[row_N]), target_N, conversation_N, torch.stack(chosen))


def _predicting(batch: Batch, laid: Laid) -> Iterator[tuple[int, int, int]]:
    """For each learned token: the row that predicts it, the token, and its conversation."""
    for number, (example, rows) in enumerate(zip(batch, laid.rows, strict=True)):
        for place, learned in enumerate(example.learned):
            if learned and place:
                yield rows[place - 1], example.tokens[place], number


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy of each row under a frozen output projection, (N,), in nats.

    The gradient is computed together with the loss: the logits, the largest tensor of a step, are then computed once
    and never kept.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> Tensor:
        logits_NV = functional.linear(hidden_ND, weight_VD).float()
        total_N1 = logits_NV.logsumexp(-1, keepdim=True)
        loss_N1 = total_N1 - logits_NV.gather(-1, target_N[:, None])
        if ctx.needs_input_grad[0]:
            slope_NV = logits_NV.sub_(total_N1).exp_()
            slope_NV.scatter_add_(-1, target_N[:, None], torch.full_like(loss_N1, -1.0))
            ctx.save_for_backward(slope_NV.to(weight_VD.dtype) @ weight_VD)
        return loss_N1.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope_ND,) = ctx.saved_tensors
        return grads[0][:, None].to(slope_ND.dtype) * slope_ND, None, None


def _taught(
    decoder: Decoder, hidden_ND: Tensor, target_N: Tensor, token_NK: Tensor, log_NK: Tensor, weight: float
) -> Tensor:
    """Weighted sum of the cross-entropy and of the divergence (Kullback-Leibler) from the teacher's opinion."""
    own_NV = functional.log_softmax(decoder.logits(hidden_ND).float(), -1)
    said_N = -own_NV.gather(-1, target_N[:, None]).squeeze(-1)
    own_NK = own_NV.gather(-1, token_NK)
    apart_N = (log_NK.exp() * (log_NK - own_NK)).sum(-1)
    left_N, own_left_N = (_left(each) for each in (log_NK, own_NK))
    apart_N = apart_N + left_N * (left_N.log() - own_left_N.log())
    return (1 - weight) * said_N + weight * apart_N


def _left(log_NK: Tensor) -> Tensor:
    """Probability of all tokens that were not kept; a millionth at least, so that it has a logarithm."""
    return (1 - log_NK.exp().sum(-1)).clamp(min=1e-6)
