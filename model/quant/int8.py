"""Eight-bit weights with one scale per output row, for bfloat16 activations (docs/decisions/0003-int8-kernel.md).

Suffixes: T tokens, O outputs, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Up to this many rows, the int8 product is faster than bfloat16; beyond, dequantising the weights first is cheaper.
SMALL_ROWS = 12
# torch's kernel reads beyond the end of rows whose length isn't a multiple of this (torch 2.13; it crashes).
INPUTS_MULTIPLE = 16


def quantise_rows(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Quantises each row symmetrically to int8. Returns codes (O, I) and nonzero scales (O,): weight ~ code * scale."""
    largest_O1 = torch.linalg.vector_norm(weight_OI.float(), float("inf"), dim=-1, keepdim=True)
    scale_O1 = largest_O1.clamp_(min=1e-12).div_(127.0)
    return (weight_OI / scale_O1).round_().to(torch.int8), scale_O1.squeeze(-1)


@dataclass(frozen=True)
class Int8Rows:
    """A matrix: ``weight = code * scale``, with one scale per row.

    Attributes:
        codes_OI: int8. scale_O: float32.
    """

    codes_OI: Tensor
    scale_O: Tensor

    @classmethod
    def of(cls, weight_OI: Tensor) -> Int8Rows:
        """Quantises each row symmetrically."""
        return cls(*quantise_rows(weight_OI.detach()))

    def rows(self, order_O: Tensor) -> Int8Rows:
        """Selects rows in this order."""
        return Int8Rows(self.codes_OI[order_O], self.scale_O[order_O])

    def scaled(self, factor_O: Tensor) -> Int8Rows:
        """Multiplies each row by a factor."""
        return Int8Rows(self.codes_OI, self.scale_O * factor_O)

    def padded(self, outputs: int, inputs: int) -> Int8Rows:
        """Appends ``outputs`` rows and ``inputs`` columns of zeros."""
        return Int8Rows(
            functional.pad(self.codes_OI, (0, inputs, 0, outputs)), functional.pad(self.scale_O, (0, outputs))
        )

    @property
    def shape(self) -> torch.Size:
        return self.codes_OI.shape

    @property
    def nbytes(self) -> int:
        return self.codes_OI.nbytes + self.scale_O.nbytes

    def dequantised(self) -> Tensor:
        """The weights in float32, (O, I)."""
        return self.codes_OI.float() * self.scale_O.float().unsqueeze(1)


def fits(weight_OI: Tensor) -> bool:
    """Whether torch's int8 kernel supports this number of inputs."""
    return weight_OI.shape[1] % INPUTS_MULTIPLE == 0


class Int8Linear(nn.Module):
    """Replaces `model.nn.linear.Linear`: (T, I) to (T, O), by torch's kernels in bfloat16.

    Args:
        rows: the weights; the number of inputs is a multiple of `INPUTS_MULTIPLE`.

    Set ``wide_OI`` to the bfloat16 weights if they exist anyway, as in a tied output projection. Otherwise, each
    batch of more than `SMALL_ROWS` rows dequantises the weights. Activations of other dtypes are multiplied with
    dequantised weights, as the reference that model/native is tested against.
    """

    def __init__(self, rows: Int8Rows) -> None:
        super().__init__()
        assert rows.shape[1] % INPUTS_MULTIPLE == 0, f"inputs must be a multiple of {INPUTS_MULTIPLE}"
        self.rows = rows
        self.wide_OI: Tensor | None = None
        self._scale_O = rows.scale_O.to(torch.bfloat16)

    def forward(self, x_TI: Tensor) -> Tensor:
        if x_TI.dtype != torch.bfloat16:
            return functional.linear(x_TI, self.rows.dequantised().to(x_TI.dtype))
        if x_TI.shape[0] <= SMALL_ROWS:
            return torch._weight_int8pack_mm(x_TI, self.rows.codes_OI, self._scale_O)
        if self.wide_OI is not None:
            return functional.linear(x_TI, self.wide_OI)
        return functional.linear(x_TI, self.rows.codes_OI.to(torch.bfloat16)) * self._scale_O
