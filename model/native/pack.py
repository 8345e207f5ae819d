"""Lays out weights for the kernels (src/matrix.h): tiles of 16 outputs, groups of 32 inputs.

Suffixes: O outputs, I inputs, E experts; b tiles, g groups, k fours of inputs within a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.quant.grouped import GROUP, GroupedRows
from model.quant.int8 import Int8Rows

TILE = 16
BLOCK = 32
"""Outputs per unit of work. Gate and up projections alternate in blocks of this size."""

Weights = GroupedRows | Int8Rows


@dataclass(frozen=True)
class Layout:
    """Layout of a matrix, or of those of all experts one after the other."""

    bits: int  # of a code
    minimum: bool  # whether groups have minima
    outputs: int  # rows of one matrix
    groups: int  # groups of 32 inputs


def pack(experts: Sequence[Weights]) -> tuple[Tensor, Tensor | None, Layout]:
    """Packs matrices of one shape and format. ``O`` must be a multiple of 16 and ``I`` of 32.

    Returns:
        The codes as bytes, with the scales of groups; the scales of whole rows, if these have them; and the layout.
    """
    outputs, inputs = experts[0].shape
    assert outputs % TILE == 0
    assert inputs % GROUP == 0
    experts = [_known(each) for each in experts]
    codes = torch.stack([_codes(each) for each in experts])
    first, groups = experts[0], inputs // GROUP
    if isinstance(first, GroupedRows):
        return codes, None, Layout(first.bits, first.minimum_OG is not None, outputs, groups)
    scales = [each.scale_O.float() for each in experts if isinstance(each, Int8Rows)]
    return codes, torch.cat(scales), Layout(8, False, outputs, groups)


def _known(weights: Weights) -> Weights:
    """The same weights in a format that the kernels have."""
    if isinstance(weights, GroupedRows) and weights.minimum_OG is None and weights.bits == 4:
        return weights.widened(4, symmetric=False)
    if isinstance(weights, GroupedRows) and weights.minimum_OG is not None and weights.bits == 6:
        return weights.widened(8, symmetric=False)
    return weights


def _codes(weights: Weights) -> Tensor:
    outputs, inputs = weights.shape
    if isinstance(weights, Int8Rows):
        return _tiled(weights.codes_OI.view(torch.uint8) ^ 0x80)  # adds 128
    tiles, groups = outputs // TILE, inputs // GROUP
    tiled = _tiled(weights.codes_OI).view(tiles, groups, -1)
    parts = [tiled]
    if weights.bits < 8:
        low = tiled & 15
        half = low.shape[-1] // 2
        parts = [low[..., :half] | (low[..., half:] << 4)]
        parts += [_packed_bits(tiled >> bit & 1) for bit in range(4, weights.bits)]
    parts += [
        factor_OG.view(tiles, TILE, groups).transpose(1, 2).contiguous().view(torch.uint8)
        for factor_OG in (weights.scale_OG, weights.minimum_OG)
        if factor_OG is not None
    ]
    return torch.cat(parts, -1)


def _packed_bits(bits: Tensor) -> Tensor:
    """Packs bytes of 0 or 1 along the last axis into bits, the first one lowest."""
    return torch.from_numpy(np.packbits(bits.numpy(), axis=-1, bitorder="little"))


def _tiled(codes_OI: Tensor) -> Tensor:
    outputs, inputs = codes_OI.shape
    return codes_OI.view(outputs // TILE, TILE, inputs // GROUP, 8, 4).permute(0, 2, 3, 1, 4).contiguous()


def gate_up(weights: Weights) -> Weights:
    """Interleaves gate and up rows, given as two halves, in blocks; both are padded to whole blocks."""
    hidden = weights.shape[0] // 2
    blocks = -(-hidden // BLOCK)
    order = torch.full((2, blocks * BLOCK), 2 * hidden)  # index of the appended row of zeros
    order[:, :hidden] = torch.arange(2 * hidden).view(2, hidden)
    turns = order.view(2, blocks, BLOCK).transpose(0, 1).flatten()
    return weights.padded(1, 0).rows(turns)


def down(weights: Weights) -> Weights:
    """Pads the inputs to the blocks of `gate_up`."""
    return weights.padded(0, -weights.shape[1] % BLOCK)
