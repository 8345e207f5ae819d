"""Runs steps by the kernels; stands in for `model.engine.runner.LocalRunner`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.engine.kv_cache import KVCache
from model.engine.runner import StepBatch
from model.native import build, library
from model.native.decoder import NativeDecoder
from model.nn.decoder import Decoder

SPINS = 20_000
"""How often a waiting thread looks before it sleeps, some 100 microseconds: longer than the engine's own work between
two steps, far shorter than the slice that another process may have taken a core for."""


class NativeRunner:
    """Args:
    decoder: with int4 or int8 weights, which are packed into memory of its own.
    kv: bfloat16 cache.
    threads: that share each step.
    folder: where the compiled kernels are kept.

    Raises:
        ConfigError: the kernels can't be compiled.
    """

    def __init__(self, decoder: Decoder, kv: KVCache, threads: int, folder: Path) -> None:
        self._library = library.load(build.library(folder))
        self._decoder = NativeDecoder(decoder, kv)
        self._kv = kv
        self._vocabulary = decoder.config.vocab
        self._handle = self._library.flightloop_open(ctypes.byref(self._decoder.model), threads, SPINS)

    def run(self, batch: StepBatch) -> Tensor:
        steps = batch.sequences
        length = _array([len(step.tokens) for step in steps])
        start = np.cumsum(length, dtype=np.int32) - length
        token = _array(list(chain.from_iterable(step.tokens for step in steps)))
        position = _array(list(chain.from_iterable(range(s.start, s.start + len(s.tokens)) for s in steps)))
        size = _array([len(step.blocks) for step in steps])
        table_at = np.cumsum(size, dtype=np.int32) - size
        table = _array(list(chain.from_iterable(step.blocks for step in steps)))
        scored = _array([row for step, end in zip(steps, (start + length).tolist(), strict=True) for row in range(end - step.logits, end)])
        logits = torch.empty(len(scored), self._vocabulary)
        native = library.Batch(
            len(token), len(steps), len(scored), *(each.ctypes.data for each in (token, position, start, length, table_at)),
            (ctypes.c_void_p * 2)(table.ctypes.data, None), scored.ctypes.data,
        )
        self._library.flightloop_step(self._handle, ctypes.byref(native), logits.data_ptr())
        return logits

    def expert_tokens(self) -> Sequence[int]:
        return self._decoder.expert_tokens()

    def __del__(self) -> None:
        if handle := getattr(self, "_handle", None):
            self._library.flightloop_close(handle)


def _array(values: list[int]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)
