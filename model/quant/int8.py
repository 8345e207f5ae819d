"""Eight-bit weights with one scale per output row, for bfloat16 activations (docs/decisions/0003-int8-kernel.md).

Suffixes: T tokens, O outputs, I inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Up to this many rows, reading bytes beats the bfloat16 product; beyond, widening the weights first is cheaper.
SMALL_ROWS = 12
# torch's kernel reads beyond the end of rows whose length is no multiple of this (torch 2.13; it crashes).
INPUTS_MULTIPLE = 16


def quantise_rows(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 of each row and its scale (O,), never zero: ``weight ~ rows * scale``."""
    largest_O1 = torch.linalg.vector_norm(weight_OI.float(), float("inf"), dim=-1, keepdim=True)
    scale_O1 = largest_O1.clamp_(min=1e-12).div_(127.0)
    return (weight_OI / scale_O1).round_().to(torch.int8), scale_O1.squeeze(-1)


def fits(weight_OI: Tensor) -> bool:
    """Whether the kernel can take these weights."""
    return weight_OI.shape[1] % INPUTS_MULTIPLE == 0


class Int8Linear(nn.Module):
    """Stands in for `model.nn.linear.Linear`: bfloat16 (T, I) to (T, O).

    Args:
        weight_OI: float weights.

    ``wide_OI`` may be set to the bfloat16 weights where those are kept anyhow, as in a tied output projection; without
    it, the bytes are widened anew for each batch of more than `SMALL_ROWS` rows.
    """

    weight_OI: Tensor
    scale_O: Tensor

    def __init__(self, weight_OI: Tensor) -> None:
        super().__init__()
        assert fits(weight_OI), f"inputs must be a multiple of {INPUTS_MULTIPLE}, not {weight_OI.shape[1]}"
        rows_OI, scale_O = quantise_rows(weight_OI.detach())
        self.register_buffer("weight_OI", rows_OI)
        self.register_buffer("scale_O", scale_O.to(torch.bfloat16))
        self.wide_OI: Tensor | None = None

    def forward(self, x_TI: Tensor) -> Tensor:
        if x_TI.shape[0] <= SMALL_ROWS:
            return torch._weight_int8pack_mm(x_TI, self.weight_OI, self.scale_O)
        if self.wide_OI is not None:
            return functional.linear(x_TI, self.wide_OI)
        return functional.linear(x_TI, self.weight_OI.to(torch.bfloat16)) * self.scale_O
