"""The kernels' KV cache: int8 with a scale per head and token, in the tiles of src/attention.h."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor

from model.nn.shape import DecoderConfig

TOKENS = 16
"""Tokens per tile. A block holds whole tiles."""


class QuantisedCache:
    """Keys and values of all layers, about 60 % of the size of bfloat16.

    Args:
        shape: shape of the decoder.
        blocks: blocks of the layers with full attention. block_size: tokens per block, a multiple of 16.
        window_blocks: blocks of the layers bounded by a window (`Reach.bounded`); None: as many as the others have,
            with the same ids.

    Attributes:
        keys, values: for each layer (tiles, key/value heads, 16 * head width), int8.
        key_scales, value_scales: for each layer (tiles, key/value heads, 16), float32.
        key_sums: sums of the keys' codes, same shape, int32.
    """

    def __init__(self, shape: DecoderConfig, blocks: int, block_size: int, window_blocks: int | None = None) -> None:
        assert block_size % TOKENS == 0, f"blocks of {block_size} tokens don't hold whole tiles"
        self.block_size = block_size
        near = blocks if window_blocks is None else window_blocks
        per_block, heads = block_size // TOKENS, shape.kv_heads
        tiles = [(near if reach.bounded else blocks) * per_block for reach in shape.reaches]
        self.keys, self.values = (
            [torch.zeros((count, heads, TOKENS * shape.head_width), dtype=torch.int8) for count in tiles]
            for _ in range(2)
        )
        self.key_scales, self.value_scales = (
            [torch.zeros((count, heads, TOKENS)) for count in tiles] for _ in range(2)
        )
        self.key_sums = [torch.zeros((count, heads, TOKENS), dtype=torch.int32) for count in tiles]

    def keys_of(self, layer: int, tiles: int) -> Tensor:
        """Keys of the first tiles, dequantised, (tokens, heads, width)."""
        codes = self.keys[layer][:tiles]
        heads, width = codes.shape[1], codes.shape[2] // TOKENS
        keys = codes.view(tiles, heads, width // 4, TOKENS, 4).permute(0, 3, 1, 2, 4).reshape(-1, heads, width)
        return keys * self.key_scales[layer][:tiles].transpose(1, 2).reshape(-1, heads, 1)

    @property
    def nbytes(self) -> int:
        tensors = chain(self.keys, self.values, self.key_scales, self.value_scales, self.key_sums)
        return sum(tensor.nbytes for tensor in tensors)
