"""Four-bit weights in groups of 32 inputs with a float16 scale and minimum each: GGUF's Q4_1.

Suffixes: T tokens, O outputs, I inputs, G = I / 32 groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = 32
"""Inputs that share a scale and a minimum."""


@dataclass(frozen=True)
class Int4Rows:
    """A matrix: ``weight = code * scale + minimum``.

    Attributes:
        codes_OI: uint8, 0 to 15. scale_OG, minimum_OG: float16.
    """

    codes_OI: Tensor
    scale_OG: Tensor
    minimum_OG: Tensor

    @classmethod
    def of(cls, weight_OI: Tensor) -> Int4Rows:
        """Quantises each group between its smallest and its largest weight."""
        outputs, inputs = weight_OI.shape
        assert inputs % GROUP == 0, f"inputs must be a multiple of {GROUP}, not {inputs}"
        groups = weight_OI.detach().float().view(outputs, -1, GROUP)
        low, high = groups.aminmax(dim=-1)
        scale_OG, minimum_OG = ((high - low) / 15).half(), low.half()
        factor = scale_OG.float().reciprocal().nan_to_num(posinf=0.0).unsqueeze(-1)
        codes = ((groups - minimum_OG.float().unsqueeze(-1)) * factor).round_().clamp_(0, 15)
        return cls(codes.to(torch.uint8).view(outputs, inputs), scale_OG, minimum_OG)

    @classmethod
    def cat(cls, parts: list[Int4Rows]) -> Int4Rows:
        """Concatenates the rows of several matrices with the same inputs."""
        return cls(
            torch.cat([part.codes_OI for part in parts]),
            torch.cat([part.scale_OG for part in parts]),
            torch.cat([part.minimum_OG for part in parts]),
        )

    def rows(self, order_O: Tensor) -> Int4Rows:
        """Selects rows in this order."""
        return Int4Rows(self.codes_OI[order_O], self.scale_OG[order_O], self.minimum_OG[order_O])

    def padded(self, outputs: int, inputs: int) -> Int4Rows:
        """Appends ``outputs`` rows and ``inputs`` columns of zeros."""
        assert inputs % GROUP == 0
        groups = (0, inputs // GROUP, 0, outputs)
        return Int4Rows(
            functional.pad(self.codes_OI, (0, inputs, 0, outputs)),
            functional.pad(self.scale_OG, groups),
            functional.pad(self.minimum_OG, groups),
        )

    @property
    def shape(self) -> torch.Size:
        return self.codes_OI.shape

    @property
    def nbytes(self) -> int:
        """Size when packed, with two codes per byte."""
        return self.codes_OI.nbytes // 2 + self.scale_OG.nbytes + self.minimum_OG.nbytes

    def dequantised(self) -> Tensor:
        """The weights in float32, (O, I)."""
        outputs, inputs = self.shape
        codes = self.codes_OI.view(outputs, -1, GROUP).float()
        weights = codes * self.scale_OG.float().unsqueeze(-1) + self.minimum_OG.float().unsqueeze(-1)
        return weights.view(outputs, inputs)


def widened(weight_OI: Tensor | Int4Rows) -> Tensor:
    """The matrix as a plain tensor, dequantised if it has four bits."""
    return weight_OI.dequantised() if isinstance(weight_OI, Int4Rows) else weight_OI


class Int4Linear(nn.Module):
    """Replaces `model.nn.linear.Linear`: (T, I) to (T, O).

    A slow reference that dequantises the weights in each call. model/native has the fast product, and is tested against
    this one.
    """

    def __init__(self, rows: Int4Rows) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x_TI: Tensor) -> Tensor:
        return functional.linear(x_TI, self.rows.dequantised().to(x_TI.dtype))
