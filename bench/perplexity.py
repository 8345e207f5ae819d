"""Scores a model's prediction of a text, with the runner that serves the model: including kernels, cache and chunks.

Suffixes: C tokens of a chunk, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.peers.protocol import windows
from model.engine.runner import Runner, SequenceStep, StepBatch

CONTEXT = 1024
CHUNK = 256


@dataclass(frozen=True)
class Score:
    """``nll``: negative log-likelihood in nats, summed over ``count`` scored tokens."""

    nll: float
    count: int

    @property
    def perplexity(self) -> float:
        return math.exp(self.nll / self.count)


@torch.inference_mode()
def score(
    runner: Runner,
    tokens: Sequence[int],
    *,
    block_size: int,
    context: int = CONTEXT,
    chunk: int = CHUNK,
    answer: bool = False,
    told: Callable[[int], None] = lambda done: None,
) -> Score:
    """Scores a text in windows without overlap (`bench.peers.protocol.windows`).

    Args:
        runner: runner of the model; its blocks from 0 on are overwritten.
        tokens: the text, at least one window.
        block_size: tokens per block of the runner's cache.
        context: tokens per window.
        chunk: tokens per step.
        answer: process the text like an answer instead of a prompt; kernels may round the two differently.
        told: called repeatedly with the number of finished tokens.
    """
    blocks = tuple(range(-(-context // block_size)))
    nll, count = 0.0, 0
    for window in windows(tokens, context):
        for start in range(0, context, chunk):
            part = tuple(window[start : start + chunk])
            targets_C = torch.tensor(window[start + 1 : start + 1 + chunk])
            step = SequenceStep(part, start, blocks, len(part), answer=len(part) if answer else 0)
            logits_CV = runner.run(StepBatch((step,)))[: len(targets_C)]
            picked_C = logits_CV.gather(1, targets_C.unsqueeze(1)).squeeze(1)
            nll += float((logits_CV.logsumexp(-1) - picked_C).double().sum())
            count += len(targets_C)
        told(count)
    return Score(nll, count)
