"""The tensors of the paged KV cache; which block belongs to whom is the block pool's business.

Suffixes: B blocks, P tokens per block, K key/value heads, H head width, T tokens, C tokens of contexts.
A slot is where one token lies: block * P + offset.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of all layers, one (B * P, K, H) tensor each.

    Args:
        layers: layers of the decoder. blocks: B. block_size: P, tokens in one block. kv_heads: K. head_dim: H.
        dtype: of the decoder's activations (`Decoder.dtype`).
    """

    def __init__(
        self, layers: int, blocks: int, block_size: int, kv_heads: int, head_dim: int, dtype: torch.dtype
    ) -> None:
        self.blocks = blocks
        self.block_size = block_size
        shape = (layers, blocks * block_size, kv_heads, head_dim)
        # Zeros, since what padding reads is masked by a sum: garbage could be NaN, and NaN + -inf is NaN.
        self._keys = torch.zeros(shape, dtype=dtype).unbind(0)
        self._values = torch.zeros(shape, dtype=dtype).unbind(0)

    def write(self, layer: int, key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor) -> None:
        """Stores one key and value per token at its slot."""
        self._keys[layer].index_copy_(0, slots_T, key_TKH)
        self._values[layer].index_copy_(0, slots_T, value_TKH)

    def read(self, layer: int, slots_C: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values at these slots, both (C, K, H), copied."""
        return self._keys[layer].index_select(0, slots_C), self._values[layer].index_select(0, slots_C)
