"""Tensors of the paged KV cache. The block pool decides which sequence holds which block.

Suffixes: B blocks, P tokens per block, K key/value heads, H head width, T tokens, C tokens of contexts.
A slot is the place of one token: block * P + offset.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.nn.shape import DecoderConfig


class KVCache:
    """Keys and values of all layers.

    Attributes:
        keys, values: one (B * P, K, H) tensor per layer. Layers bounded by a window have their own B.
        blocks: B of the layers with full attention. window_blocks: B of the bounded layers.
        block_size: P.
    """

    def __init__(
        self,
        layers: int,
        blocks: int,
        block_size: int,
        kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        *,
        bounded: Sequence[bool] = (),
        window_blocks: int | None = None,
    ) -> None:
        """Allocates the tensors.

        Args:
            layers: layers of the decoder. kv_heads: K. head_dim: H.
            blocks: B of the layers with full attention. block_size: P.
            dtype: dtype of the decoder's activations (`Decoder.dtype`).
            bounded: for each layer, whether it sees only its window (`Reach.bounded`); empty: none is bounded.
            window_blocks: B of the bounded layers; None: the same as ``blocks``, with the same ids.
        """
        self.blocks, self.block_size = blocks, block_size
        self.window_blocks = blocks if window_blocks is None else window_blocks
        each = [self.window_blocks if near else blocks for near in bounded or [False] * layers]
        assert len(each) == layers, "every layer is bounded or not"
        # Zeros, since padding is masked by adding -inf: garbage could be NaN, and NaN + -inf is NaN.
        self.keys, self.values = (
            [torch.zeros((count * block_size, kv_heads, head_dim), dtype=dtype) for count in each] for _ in range(2)
        )

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.keys + self.values)

    def write(self, layer: int, key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor) -> None:
        """Stores one key and value per token at its slot."""
        self.keys[layer].index_copy_(0, slots_T, key_TKH)
        self.values[layer].index_copy_(0, slots_T, value_TKH)

    def read(self, layer: int, slots_C: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values at these slots, both (C, K, H)."""
        return self.keys[layer].index_select(0, slots_C), self.values[layer].index_select(0, slots_C)


def kv_cache(
    shape: DecoderConfig, dtype: torch.dtype, blocks: int, block_size: int, window_blocks: int | None = None
) -> KVCache:
    """The cache for a decoder of this shape and dtype; other arguments as in `KVCache`."""
    return KVCache(
        shape.layers,
        blocks,
        block_size,
        shape.kv_heads,
        shape.head_width,
        dtype,
        bounded=[reach.bounded for reach in shape.reaches],
        window_blocks=window_blocks,
    )
