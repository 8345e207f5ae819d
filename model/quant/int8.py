"""Eight-bit products: weights with one scale per output, activations quantised on the fly with one scale per token.

Suffixes: T tokens, O outputs, I inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LARGEST = 127.0


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 of each row and its scale, a column that is never zero: ``x ~ rows * scale``."""
    scale = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True).clamp_(min=1e-12).div_(_LARGEST)
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """Stands in for `model.nn.linear.Linear`: (T, I) to (T, O) in x's dtype, summed exactly in int32."""

    weight_OI: Tensor
    scale_O: Tensor

    def __init__(self, weight_OI: Tensor) -> None:
        super().__init__()
        rows, scale = quantise_rows(weight_OI.detach().float())
        self.register_buffer("weight_OI", rows)
        self.register_buffer("scale_O", scale.squeeze(-1))

    def forward(self, x_TI: Tensor) -> Tensor:
        rows_TI, scale_T1 = quantise_rows(x_TI)
        sums_TO = torch._int_mm(rows_TI, self.weight_OI.t())
        return (sums_TO * scale_T1).mul_(self.scale_O)
