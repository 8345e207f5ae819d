"""Measures the keys that a model makes, for `model.native.balance`.

Suffixes: T tokens, K key/value heads, P rotary pairs of a head, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.config import Kernels
from model.engine.runner import SequenceStep, StepBatch
from model.native.cache import TOKENS, QuantisedCache
from model.native.packed import PackedWeights
from model.native.runner import NativeRunner

_BLOCK = 64


def key_sizes(packed: PackedWeights, tokens: Sequence[int], cache: Path, kernels: Kernels = "auto") -> Tensor:
    """Largest norm of each rotary pair over the keys of a text, (L, K, P). The rotary embedding keeps these norms.

    Args:
        packed: the weights. Keys are measured as these weights make them, with their balance.
        tokens: the text, at least 16 tokens; what doesn't fill a tile of 16, or exceeds the model's positions, is left
            out.
        cache: folder of the compiled kernels.
        kernels: as in `model.config.ModelConfig`.

    Raises:
        ConfigError: the kernels can't be compiled.
    """
    tiles = min(len(tokens), packed.shape.max_positions) // TOKENS
    assert tiles, f"a text of {len(tokens)} tokens is too short to measure keys"
    shape, count = packed.shape, tiles * TOKENS
    blocks = tuple(range(-(-count // _BLOCK)))
    kv = QuantisedCache(shape, len(blocks), _BLOCK)
    step = SequenceStep(tuple(tokens[:count]), 0, blocks, logits=1)
    NativeRunner(packed, kv, 1, cache, kernels).run(StepBatch((step,)))
    found = []
    for layer in range(shape.layers):
        key_TK2P = kv.keys_of(layer, tiles).view(count, shape.kv_heads, 2, shape.head_width // 2)
        found.append(key_TK2P.square().sum(2).amax(0).sqrt())
    return torch.stack(found)
