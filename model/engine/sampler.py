"""Draws the next tokens, and tells how sure the model was before the grammar had its say.

Suffixes: N rows (one a sequence), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.engine.request import SampledToken, SamplingParams

_NUCLEUS = 256  # top_p rarely needs more candidates, and sorting all of V takes milliseconds


@dataclass(frozen=True)
class Draw:
    """How one row is sampled. ``random`` is the request's own; ``allowed`` is (V,), None: everything."""

    params: SamplingParams
    random: Random
    allowed: NDArray[np.bool_] | None = None


@torch.inference_mode()
def sample(logits_NV: Tensor, draws: Sequence[Draw]) -> list[SampledToken]:
    """One token a row. A row's outcome depends on its logits and its draw only. Overwrites the logits."""
    assert logits_NV.ndim == 2
    assert logits_NV.shape[0] == len(draws)
    norm_N1 = logits_NV.logsumexp(-1, keepdim=True)
    probability_NV = (logits_NV - norm_N1).exp_()
    entropy_N = norm_N1[:, 0] - torch.linalg.vecdot(probability_NV, logits_NV)
    tops = _tops(logits_NV - norm_N1, draws) if any(draw.params.top_logprobs for draw in draws) else [()] * len(draws)
    raw_NV = logits_NV
    if any(draw.allowed is not None for draw in draws):
        raw_NV = logits_NV.clone()
        for row, draw in enumerate(draws):
            if draw.allowed is not None:
                logits_NV[row].masked_fill_(torch.from_numpy(~draw.allowed), float("-inf"))
    tokens = logits_NV.argmax(-1)
    for row, draw in enumerate(draws):
        if draw.params.temperature > 0:
            tokens[row] = _draw(logits_NV[row], draw)
    logprob_N = (raw_NV.gather(1, tokens[:, None]) - norm_N1)[:, 0]
    figures = zip(tokens.tolist(), logprob_N.tolist(), entropy_N.clamp_(min=0).tolist(), tops, strict=True)
    return [SampledToken(*each) for each in figures]


def _tops(logprob_NV: Tensor, draws: Sequence[Draw]) -> list[tuple[tuple[int, float], ...]]:
    most = min(max(draw.params.top_logprobs for draw in draws), logprob_NV.shape[1])
    values, tokens = logprob_NV.topk(most)
    rows = zip(tokens.tolist(), values.tolist(), draws, strict=True)
    return [tuple(zip(ids, probs, strict=True))[: draw.params.top_logprobs] for ids, probs, draw in rows]


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
    """An index by the softmax of ``scaled``: one uniform number through the inverse distribution."""
    mass = scaled.double().softmax(0).cumsum(0)
    target = random.random() * float(mass[-1])
    return min(int(torch.searchsorted(mass, target, right=True)), len(mass) - 1)
