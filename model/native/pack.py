"""Lays out weights for the kernels (src/matrix.h): tiles of 16 outputs, groups of 32 inputs.

Suffixes: O outputs, I inputs, E experts; b tiles, g groups, k fours of inputs within a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.native.library import Matrix
from model.quant.int4 import GROUP, Int4Rows
from model.quant.int8 import Int8Rows

TILE = 16
BLOCK = 32
"""Outputs per unit of work. Gate and up projections alternate in blocks of this size."""

Weights = Int4Rows | Int8Rows


@dataclass(frozen=True)
class Packed:
    """A matrix, or those of all experts one after the other. Owns the memory that `matrix` points to."""

    codes: Tensor  # quantised weights as bytes
    scale: Tensor | None  # scales of the codes
    outputs: int  # rows of one matrix
    groups: int  # groups of 32 inputs

    @property
    def matrix(self) -> Matrix:
        """The matrix in the form that the kernels expect."""
        scale = None if self.scale is None else self.scale.data_ptr()
        return Matrix(self.codes.data_ptr(), scale, 4 if self.scale is None else 8, self.outputs, self.groups)

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + (0 if self.scale is None else self.scale.nbytes)


def pack(experts: Sequence[Weights]) -> Packed:
    """Packs matrices of one shape and format. ``O`` must be a multiple of 16 and ``I`` of 32."""
    outputs, inputs = experts[0].shape
    assert outputs % TILE == 0
    assert inputs % GROUP == 0
    codes = torch.stack([_codes(each) for each in experts])
    scales = [each.scale_O.float() for each in experts if isinstance(each, Int8Rows)]
    return Packed(codes, torch.cat(scales) if scales else None, outputs, inputs // GROUP)


def _codes(weights: Weights) -> Tensor:
    outputs, inputs = weights.shape
    if isinstance(weights, Int8Rows):
        return _tiled(weights.codes_OI.view(torch.uint8) ^ 0x80)  # adds 128
    tiled = _tiled(weights.codes_OI)
    codes = tiled[..., :4, :, :] | (tiled[..., 4:, :, :] << 4)
    tiles, groups = outputs // TILE, inputs // GROUP
    factors = [
        factor_OG.view(tiles, TILE, groups).transpose(1, 2).contiguous().view(torch.uint8)
        for factor_OG in (weights.scale_OG, weights.minimum_OG)
    ]
    return torch.cat([codes.reshape(tiles, groups, -1), *factors], -1)


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
