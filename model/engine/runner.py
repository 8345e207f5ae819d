"""Runs steps of the decoder. A step is a plain value, so that a sharded runner can send it.

Suffixes: T tokens of the step, N rows that are scored, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.engine.kv_cache import KVCache
from model.engine.scheduler import Slice
from model.nn.attention import AttentionBatch
from model.nn.decoder import Decoder


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """New tokens of one sequence, at the positions from ``start`` on."""

    tokens: tuple[int, ...]
    start: int
    blocks: tuple[int, ...]
    """Blocks of the sequence."""
    logits: int
    """Number of last tokens that are scored: 0, 1, or 1 + k with k draft tokens at the end."""
    window_blocks: tuple[int, ...] = ()
    """Blocks of the layers with a window, as many as ``blocks``; 0 for those behind the window or never needed.

    Empty: ``blocks`` serve all layers.
    """
    answer: int = 0
    """Number of last tokens that belong to the answer, drafts included; the others belong to the prompt."""


@dataclass(frozen=True)
class StepBatch:
    sequences: tuple[SequenceStep, ...]


class Runner(Protocol):
    """Computes the steps of a model."""

    def run(self, batch: StepBatch) -> Tensor:
        """Logits (N, V), float32, sequence after sequence and row after row. The caller may overwrite them.

        An exception means that the runner is broken; the engine does not retry.
        """
        ...

    def expert_tokens(self) -> Sequence[int]:
        """Tokens routed to each expert since the start; empty for a dense model."""
        ...


class StatesRunner(Protocol):
    """Computes the hidden states of tokens, without logits."""

    def states(self, batch: StepBatch, layers: Sequence[int]) -> Tensor:
        """Hidden states that enter layers.

        Args:
            batch: tokens, none of them scored. Their keys and values are written to the cache, of the layers that run.
            layers: numbers of layers from 0, in ascending order. Layers from the last of them on don't run.

        Returns:
            states_LTD, float32, in the batch's order of tokens.
        """
        ...


class LocalRunner:
    """Runs the decoder in this process."""

    def __init__(self, decoder: Decoder, kv: KVCache) -> None:
        self._decoder = decoder
        self._kv = kv

    @torch.inference_mode()
    def run(self, batch: StepBatch) -> Tensor:
        layout, tokens_T = self._laid_out(batch)
        hidden_TD = self._decoder(tokens_T, layout.positions_T, self._kv, layout)
        return self._decoder.logits(hidden_TD[scored_rows(batch)])

    @torch.inference_mode()
    def states(self, batch: StepBatch, layers: Sequence[int]) -> Tensor:
        """Implements `StatesRunner`."""
        layout, tokens_T = self._laid_out(batch)
        wanted = checked_layers(layers, self._decoder.config.layers)
        return self._decoder.states(tokens_T, layout.positions_T, self._kv, layout, wanted)

    def _laid_out(self, batch: StepBatch) -> tuple[AttentionBatch, Tensor]:
        steps = batch.sequences
        layout = self._decoder.layout(
            [len(step.tokens) for step in steps],
            [step.start + len(step.tokens) for step in steps],
            [step.blocks for step in steps],
            self._kv.block_size,
            [step.window_blocks or step.blocks for step in steps],
        )
        return layout, torch.tensor([token for step in steps for token in step.tokens])

    def expert_tokens(self) -> Sequence[int]:
        return self._decoder.expert_tokens_E.tolist()


def checked_layers(layers: Sequence[int], count: int) -> Sequence[int]:
    """The layers. Raises ValueError unless they are numbers of a model's ``count`` layers in ascending order."""
    if not layers or list(layers) != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= min(count, 64):
        raise ValueError(f"layers must ascend from 0 to at most {min(count, 64) - 1}, not {list(layers)}")
    return layers


def scored_rows(batch: StepBatch) -> list[int]:
    """Rows (N) of the step's tokens that need logits."""
    rows: list[int] = []
    end = 0
    for step in batch.sequences:
        end += len(step.tokens)
        rows += range(end - step.logits, end)
    return rows


def step_batch(slices: Sequence[Slice]) -> StepBatch:
    """Converts the scheduler's slices to a batch for a runner."""
    return StepBatch(tuple(_step(each) for each in slices))


def _step(each: Slice) -> SequenceStep:
    sequence, start = each.sequence, each.sequence.computed
    tokens = (*sequence.tokens[start : start + each.count], *each.drafts)
    scored = 1 + len(each.drafts) if each.samples else 0
    answer = min(len(tokens), max(0, start + len(tokens) - len(sequence.request.prompt)))
    return SequenceStep(tokens, start, tuple(sequence.blocks.full), scored, sequence.blocks.near_table(), answer)
