"""Runs steps with the kernels; a drop-in replacement of `model.engine.runner.LocalRunner`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import Kernels
from model.engine.masks import Masks
from model.engine.runner import SequenceStep, StepBatch, checked_layers
from model.engine.sampler import Chosen
from model.native import build, library
from model.native.cache import QuantisedCache
from model.native.decoder import NativeDecoder
from model.native.kinds import chosen
from model.native.packed import PackedWeights
from model.native.support import machine_obstacle

SPINS = 20_000
"""Polls of a waiting thread before it sleeps: about 100 microseconds. That is longer than the engine's own work between
two steps, and far shorter than the time slice of another process on the core."""


class NativeRunner:
    """Runs steps and greedy choices on a team of threads.

    Args:
        packed: the model's weights.
        kv: cache that steps read and write.
        threads: threads that share each step, including the caller's.
        cache: folder of the compiled kernels.
        kernels: the kind of kernels to run, as in `model.config.ModelConfig`.

    Raises:
        ConfigError: the kernels can't be compiled, or this machine can't have this kind.
    """

    def __init__(
        self, packed: PackedWeights, kv: QuantisedCache, threads: int, cache: Path, kernels: Kernels = "auto"
    ) -> None:
        kind = chosen(kernels)
        assert kind is not None, str(machine_obstacle())
        self._kernels = library.load(build.compiled(cache), kind.name)
        self._decoder = NativeDecoder(packed, kv)
        self._shape = packed.shape
        self._handle = self._kernels.open(ctypes.byref(self._decoder.model), threads, SPINS)

    def run(self, batch: StepBatch) -> Tensor:
        rows = _Rows(batch)
        logits = torch.empty(len(rows.scored), self._shape.vocab)
        self._step(rows, logits, depth=self._shape.layers)
        return logits

    def states(self, batch: StepBatch, layers: Sequence[int]) -> Tensor:
        """Implements `model.engine.runner.StatesRunner`."""
        rows, wanted = _Rows(batch), checked_layers(layers, self._shape.layers)
        assert not rows.scored, "a step for hidden states scores no tokens"
        states_LTD = torch.empty(len(layers), len(rows.tokens), self._shape.width)
        self._step(rows, torch.empty(0), depth=wanted[-1], wanted=wanted, states_LTD=states_LTD)
        return states_LTD[:, rows.order]

    def _step(
        self,
        rows: _Rows,
        logits: Tensor,
        *,
        depth: int,
        wanted: Sequence[int] = (),
        states_LTD: Tensor | None = None,
    ) -> None:
        length, size = _array(rows.lengths), _array(len(step.blocks) for step in rows.steps)
        token, position, scored = _array(rows.tokens), _array(rows.positions), _array(rows.scored)
        start, table_at = np.cumsum(length, dtype=np.int32) - length, np.cumsum(size, dtype=np.int32) - size
        table = _array(chain.from_iterable(step.blocks for step in rows.steps))
        window_table = _array(chain.from_iterable(step.window_blocks or step.blocks for step in rows.steps))
        native = library.Batch(
            tokens=len(token),
            sequences=len(rows.steps),
            scored=len(scored),
            answers=rows.answers,
            token=token.ctypes.data,
            position=position.ctypes.data,
            start=start.ctypes.data,
            length=length.ctypes.data,
            table_at=table_at.ctypes.data,
            tables=(ctypes.c_void_p * 2)(table.ctypes.data, window_table.ctypes.data),
            scored_row=scored.ctypes.data,
            states=None if states_LTD is None else states_LTD.data_ptr(),
            wanted=sum(1 << layer for layer in wanted),
            depth=depth,
        )
        self._kernels.step(self._handle, ctypes.byref(native), logits.data_ptr())

    def choose(self, logits_NV: Tensor, masks: Masks | None) -> Chosen:
        """Implements `model.engine.sampler.Chooser`."""
        rows, count = logits_NV.shape
        choices = (library.Choice * rows)()
        self._kernels.choose(
            self._handle,
            logits_NV.data_ptr(),
            rows,
            count,
            None if masks is None else masks.words_MW.ctypes.data,
            0 if masks is None else masks.words_MW.shape[1],
            None if masks is None else masks.place_N.ctypes.data,
            choices,
        )
        return Chosen(
            [each.token for each in choices], [each.logprob for each in choices], [each.entropy for each in choices]
        )

    def expert_tokens(self) -> Sequence[int]:
        return self._decoder.expert_tokens()

    def __del__(self) -> None:
        if handle := getattr(self, "_handle", None):
            self._kernels.close(handle)


class _Rows:
    """A batch in the kernels' order: rows of answers, then rows of prompts. A sequence with both appears twice.

    Attributes:
        steps, lengths: step and number of rows, one per sequence or part of one.
        tokens, positions: token and position of each row.
        answers: number of rows that belong to answers.
        scored: rows that need logits, in the batch's order.
        order: row of each of the batch's tokens.
    """

    def __init__(self, batch: StepBatch) -> None:
        self.steps: list[SequenceStep] = []
        self.lengths: list[int] = []
        self.tokens: list[int] = []
        self.positions: list[int] = []
        answers = [self._put(step, len(step.tokens) - step.answer, len(step.tokens)) for step in batch.sequences]
        self.answers = len(self.tokens)
        prompts = [self._put(step, 0, len(step.tokens) - step.answer) for step in batch.sequences]
        self.scored: list[int] = []
        self.order: list[int] = []
        for step, answer, prompt in zip(batch.sequences, answers, prompts, strict=True):
            rows = [*prompt, *answer]
            self.scored += rows[len(rows) - step.logits :]
            self.order += rows

    def _put(self, step: SequenceStep, first: int, last: int) -> range:
        """Adds tokens [first, last) of a step and returns their rows."""
        begin = len(self.tokens)
        if first < last:
            self.steps.append(step)
            self.lengths.append(last - first)
            self.tokens += step.tokens[first:last]
            self.positions += range(step.start + first, step.start + last)
        return range(begin, len(self.tokens))


def _array(values: Iterable[int]) -> NDArray[np.int32]:
    return np.fromiter(values, dtype=np.int32)
