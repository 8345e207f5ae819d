"""The kernels' KV cache: int8, each head of a token with a scale of its own.

Suffixes: B blocks, P tokens per block, K key/value heads, H head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.nn.shape import DecoderConfig


class QuantisedCache:
    """Keys and values of all layers, a little over half the size of bfloat16.

    Args:
        shape: of the decoder.
        blocks: B of the layers that may see everything. block_size: P.
        window_blocks: B of the layers that a window bounds (`Reach.bounded`); None: as many as the others have, and
            the same ids serve both.

    Attributes:
        keys, values: for each layer (B * P, K, H), int8.
        key_scales, value_scales: for each layer (B * P, K), float32.
    """

    def __init__(self, shape: DecoderConfig, blocks: int, block_size: int, window_blocks: int | None = None) -> None:
        self.block_size = block_size
        near = blocks if window_blocks is None else window_blocks
        slots = [(near if reach.bounded else blocks) * block_size for reach in shape.reaches]
        self.keys, self.values = (
            [torch.zeros((count, shape.kv_heads, shape.head_width), dtype=torch.int8) for count in slots]
            for _ in range(2)
        )
        self.key_scales, self.value_scales = (
            [torch.zeros((count, shape.kv_heads)) for count in slots] for _ in range(2)
        )

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self._tensors())

    def _tensors(self) -> list[Tensor]:
        return self.keys + self.values + self.key_scales + self.value_scales
