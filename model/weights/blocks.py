"""Quantised blocks of GGUF files as `GroupedRows`, without dequantising.

Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gguf
import numpy as np
import torch
from numpy.typing import NDArray

from model.quant.grouped import GROUP, Bits, GroupedRows

Bytes = NDArray[np.uint8]
Halves = NDArray[np.float16]
Kind = gguf.GGMLQuantizationType

GROUPED = frozenset({Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0, Kind.Q4_K, Kind.Q5_K})
"""Formats with a scale per 32 weights. Q6_K has one per 16."""


def grouped(data: Bytes, kind: gguf.GGMLQuantizationType, outputs: int, inputs: int) -> GroupedRows:
    """The weights of a matrix in one of the formats `GROUPED`; scales of K formats are rounded to float16.

    Args:
        data: the tensor's bytes.
    """
    _, size = gguf.GGML_QUANT_SIZES[kind]
    bits, codes, scale, minimum = _READERS[kind](data.reshape(-1, size))
    groups = (outputs, inputs // GROUP)
    return GroupedRows(
        torch.from_numpy(codes).view(outputs, inputs),
        torch.from_numpy(np.ascontiguousarray(scale)).view(groups),
        None if minimum is None else torch.from_numpy(np.ascontiguousarray(minimum)).view(groups),
        bits,
    )


Read = tuple[Bits, Bytes, Halves, Halves | None]


def _q4_0(blocks: Bytes) -> Read:
    return 4, _nibbles(blocks[:, 2:]), _halves(blocks[:, :2]), None


def _q4_1(blocks: Bytes) -> Read:
    return 4, _nibbles(blocks[:, 4:]), _halves(blocks[:, :2]), _halves(blocks[:, 2:4])


def _q5_0(blocks: Bytes) -> Read:
    return 5, _nibbles(blocks[:, 6:]) | _fifth(blocks[:, 2:6]), _halves(blocks[:, :2]), None


def _q5_1(blocks: Bytes) -> Read:
    codes = _nibbles(blocks[:, 8:]) | _fifth(blocks[:, 4:8])
    return 5, codes, _halves(blocks[:, :2]), _halves(blocks[:, 2:4])


def _q8_0(blocks: Bytes) -> Read:
    return 8, blocks[:, 2:] ^ np.uint8(0x80), _halves(blocks[:, :2]), None


def _q4_k(blocks: Bytes) -> Read:
    scale, minimum = _scales_of_k(blocks)
    return 4, _nibbles(blocks[:, 16:].reshape(-1, 4, GROUP)), scale, minimum


def _q5_k(blocks: Bytes) -> Read:
    scale, minimum = _scales_of_k(blocks)
    low = _nibbles(blocks[:, 48:].reshape(-1, 4, GROUP)).reshape(-1, 8, GROUP)
    # Bit g of byte i is the fifth bit of weight i of group g.
    high = blocks[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None] & np.uint8(1)
    return 5, low | high << np.uint8(4), scale, minimum


_READERS: Mapping[gguf.GGMLQuantizationType, Callable[[Bytes], Read]] = {
    Kind.Q4_0: _q4_0,
    Kind.Q4_1: _q4_1,
    Kind.Q5_0: _q5_0,
    Kind.Q5_1: _q5_1,
    Kind.Q8_0: _q8_0,
    Kind.Q4_K: _q4_k,
    Kind.Q5_K: _q5_k,
}


def _halves(data: Bytes) -> Halves:
    return np.ascontiguousarray(data).view(np.float16)


def _nibbles(data: Bytes) -> Bytes:
    """The low, then the high halves of the bytes of the last axis."""
    return np.concatenate([data & 15, data >> 4], -1)


def _fifth(data: Bytes) -> Bytes:
    return np.unpackbits(np.ascontiguousarray(data), axis=-1, bitorder="little") << np.uint8(4)


def _scales_of_k(blocks: Bytes) -> tuple[Halves, Halves]:
    """Scales and minima of the 8 groups of each block of 256 weights: six-bit factors of the block's own two."""
    both = _halves(blocks[:, :4]).astype(np.float32)
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scale = np.concatenate([low & 63, high & 15 | low >> 6 << 4], -1)
    minimum = np.concatenate([middle & 63, high >> 4 | middle >> 6 << 4], -1)
    return (scale * both[:, :1]).astype(np.float16), (minimum * -both[:, 1:]).astype(np.float16)
