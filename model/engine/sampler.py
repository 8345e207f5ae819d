"""Samples the next tokens, and computes the model's certainty before the grammar's mask.

Suffixes: N rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from model.engine.masks import Masks
from model.engine.request import SampledToken, SamplingParams

_NUCLEUS = 256  # top_p rarely needs more candidates, and sorting all of V takes milliseconds


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row is sampled. ``random`` belongs to the request; ``counts`` are the answer's tokens, empty without
    penalties."""

    params: SamplingParams
    random: Random
    counts: Mapping[int, int] = field(default_factory=dict)


class Chosen(NamedTuple):
    """Greedy choice of each row: token, log-probability and entropy (nats) before the mask."""

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]


class Chooser(Protocol):
    """Chooses the likeliest permitted token of each row. Leaves the logits (N, V) unchanged."""

    def __call__(self, logits_NV: Tensor, masks: Masks | None) -> Chosen: ...


def choose(logits_NV: Tensor, masks: Masks | None) -> Chosen:
    """A `Chooser` that works row by row: rows are independent and stay in the processor's cache."""
    scores_NV = logits_NV.numpy()
    scratch_V = np.empty(scores_NV.shape[1], np.float32)
    chosen = Chosen([], [], [])
    for row, scores_V in enumerate(scores_NV):
        token = int(scores_V.argmax())
        highest = scores_V[token]
        np.subtract(scores_V, highest, out=scratch_V)
        np.exp(scratch_V, out=scratch_V)
        total = scratch_V.sum()
        norm = float(highest) + math.log(total)
        np.multiply(scratch_V, scores_V, out=scratch_V)
        entropy = norm - float(scratch_V.sum() / total)
        if masks is not None and not masks.allows(row, token):
            allowed = np.flatnonzero(masks.allowed(row, len(scores_V)))
            token = int(allowed[scores_V[allowed].argmax()])
        chosen.tokens.append(token)
        chosen.logprobs.append(float(scores_V[token]) - norm)
        chosen.entropies.append(max(0.0, entropy))
    return chosen


@torch.inference_mode()
def sample(
    logits_NV: Tensor, draws: Sequence[Draw], masks: Masks | None = None, choose: Chooser = choose
) -> list[SampledToken]:
    """Samples one token per row. The result depends only on the row's logits, draw and mask."""
    assert logits_NV.ndim == 2
    assert logits_NV.shape[0] == len(draws)
    if not draws:
        return []
    chosen = choose(logits_NV, masks)
    free_N = [True] * len(draws) if masks is None else masks.free_N
    sampled = []
    for row, (draw, free, token, logprob, entropy) in enumerate(zip(draws, free_N, *chosen, strict=True)):
        params = draw.params
        if draw.counts and free:
            norm = float(logits_NV[row, token]) - logprob
            sampled.append(_penalised(logits_NV[row], draw, masks, row, norm, entropy))
            continue
        top: tuple[tuple[int, float], ...] = ()
        if params.top_logprobs or (params.temperature > 0 and free):
            logits_V = logits_NV[row]
            norm = float(logits_V[token]) - logprob
            top = _top(logits_V, norm, params.top_logprobs)
            # A forced token uses no randomness: a seed gives the same answer with and without log-probabilities.
            if params.temperature > 0 and free:
                token = _draw(_masked(logits_V, masks, row), draw)
                logprob = float(logits_V[token]) - norm
        sampled.append(SampledToken(token, logprob, entropy, top, free))
    return sampled


def _penalised(
    logits_V: Tensor, draw: Draw, masks: Masks | None, row: int, norm: float, entropy: float
) -> SampledToken:
    """Samples a row with penalties. Log-probabilities and entropy are those before penalties and mask."""
    params, had = draw.params, torch.tensor(list(draw.counts))
    times = torch.tensor(list(draw.counts.values()), dtype=logits_V.dtype)
    scores_V = logits_V.clone()
    scores_V[had] -= params.frequency_penalty * times + params.presence_penalty
    scores_V = _masked(scores_V, masks, row)
    token = _draw(scores_V, draw) if params.temperature > 0 else int(scores_V.argmax())
    top = _top(logits_V, norm, params.top_logprobs) if params.top_logprobs else ()
    return SampledToken(token, float(logits_V[token]) - norm, entropy, top, free=True)


def _top(logits_V: Tensor, norm: float, count: int) -> tuple[tuple[int, float], ...]:
    values, tokens = logits_V.topk(min(count, len(logits_V)))
    return tuple(zip(tokens.tolist(), (values - norm).tolist(), strict=True))


def _masked(logits_V: Tensor, masks: Masks | None, row: int) -> Tensor:
    if masks is None or masks.place_N[row] < 0:
        return logits_V
    return logits_V.masked_fill(torch.from_numpy(~masks.allowed(row, len(logits_V))), float("-inf"))


def _draw(logits_V: Tensor, draw: Draw) -> int:
    scaled_V = logits_V / max(draw.params.temperature, 1e-3)
    if draw.params.top_p >= 1:
        return _pick(scaled_V, draw.random)
    values, tokens = _nucleus(scaled_V, draw.params.top_p)
    return int(tokens[_pick(values, draw.random)])


def _nucleus(scaled_V: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The smallest set of tokens whose probabilities reach ``top_p``, most likely first."""
    norm = scaled_V.logsumexp(0)
    for count in (_NUCLEUS, 16 * _NUCLEUS, len(scaled_V)):
        values, tokens = scaled_V.topk(min(count, len(scaled_V)))
        mass = (values - norm).double().exp().cumsum(0)
        if mass[-1] >= top_p:
            break
    kept = int((mass < top_p).sum()) + 1
    return values[:kept], tokens[:kept]


def _pick(scaled: Tensor, random: Random) -> int:
    """Samples an index from the softmax of ``scaled`` by inverting the distribution at one uniform number."""
    mass = scaled.double().softmax(0).cumsum(0)
    target = random.random() * float(mass[-1])
    return min(int(torch.searchsorted(mass, target, right=True)), len(mass) - 1)
