"""Weights of 4 to 8 bits in groups of 32 inputs, each with its own scale: GGUF's Q4_0 to Q8_0, and its K formats.

Suffixes: T tokens, O outputs, I inputs, G = I / 32 groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP = 32
"""Inputs that share a scale and a minimum."""

Bits = Literal[4, 5, 6, 8]


@dataclass(frozen=True)
class GroupedRows:
    """A matrix: ``weight = code * scale + minimum``.

    Attributes:
        codes_OI: uint8, 0 to 2^bits - 1.
        scale_OG: float16.
        minimum_OG: float16. None: the middle code, 2^(bits - 1), means zero.
        bits: bits of a code.
    """

    codes_OI: Tensor
    scale_OG: Tensor
    minimum_OG: Tensor | None
    bits: Bits = 4

    @classmethod
    def of(cls, weight_OI: Tensor, bits: Bits = 4) -> GroupedRows:
        """Quantises each group between its smallest and its largest weight."""
        outputs, inputs = weight_OI.shape
        assert inputs % GROUP == 0, f"inputs must be a multiple of {GROUP}, not {inputs}"
        most = 2**bits - 1
        groups = weight_OI.detach().float().view(outputs, -1, GROUP)
        low, high = groups.aminmax(dim=-1)
        scale_OG, minimum_OG = ((high - low) / most).half(), low.half()
        factor = scale_OG.float().reciprocal().nan_to_num(posinf=0.0).unsqueeze(-1)
        codes = ((groups - minimum_OG.float().unsqueeze(-1)) * factor).round_().clamp_(0, most)
        return cls(codes.to(torch.uint8).view(outputs, inputs), scale_OG, minimum_OG, bits)

    @classmethod
    def symmetric(cls, weight_OI: Tensor, bits: Bits) -> GroupedRows:
        """Quantises each group around zero. The weight of largest magnitude gets the lowest code, as in GGUF's Q5_0."""
        outputs, inputs = weight_OI.shape
        middle = 2 ** (bits - 1)
        groups = weight_OI.detach().float().view(outputs, -1, GROUP)
        most = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
        scale_OG = (most.squeeze(-1) / -middle).half()
        factor = scale_OG.float().reciprocal().nan_to_num(posinf=0.0, neginf=0.0).unsqueeze(-1)
        codes = (groups * factor).round_().add_(middle).clamp_(0, 2 * middle - 1)
        return cls(codes.to(torch.uint8).view(outputs, inputs), scale_OG, None, bits)

    @classmethod
    def cat(cls, parts: list[GroupedRows]) -> GroupedRows:
        """Concatenates the rows of several matrices with the same inputs, in a format that represents all exactly."""
        bits = max(part.bits for part in parts)
        symmetric = all(part.minimum_OG is None for part in parts)
        same = [part.widened(bits, symmetric) for part in parts]
        minima = [part.minimum_OG for part in same if part.minimum_OG is not None]
        return cls(
            torch.cat([part.codes_OI for part in same]),
            torch.cat([part.scale_OG for part in same]),
            torch.cat(minima) if minima else None,
            bits,
        )

    def widened(self, bits: Bits, symmetric: bool) -> GroupedRows:
        """The same weights with at least as many bits. ``symmetric`` only if they are so now."""
        if self.minimum_OG is not None or not symmetric:
            return GroupedRows(self.codes_OI, self.scale_OG, self.minima(), bits)
        return GroupedRows(self.codes_OI + (2 ** (bits - 1) - 2 ** (self.bits - 1)), self.scale_OG, None, bits)

    def minima(self) -> Tensor:
        """``minimum_OG``, computed if it is None."""
        # A power of two times the scale is exact in float16.
        return -(2 ** (self.bits - 1)) * self.scale_OG if self.minimum_OG is None else self.minimum_OG

    def rows(self, order_O: Tensor) -> GroupedRows:
        """Selects rows in this order."""
        minimum_OG = None if self.minimum_OG is None else self.minimum_OG[order_O]
        return GroupedRows(self.codes_OI[order_O], self.scale_OG[order_O], minimum_OG, self.bits)

    def scaled(self, factor_O: Tensor) -> GroupedRows:
        """Multiplies each row by a factor; scales and minima are rounded to float16 again."""
        minimum_OG = None if self.minimum_OG is None else (self.minimum_OG.float() * factor_O.unsqueeze(1)).half()
        scale_OG = (self.scale_OG.float() * factor_O.unsqueeze(1)).half()
        return GroupedRows(self.codes_OI, scale_OG, minimum_OG, self.bits)

    def padded(self, outputs: int, inputs: int) -> GroupedRows:
        """Appends ``outputs`` rows and ``inputs`` columns of zeros."""
        assert inputs % GROUP == 0
        groups = (0, inputs // GROUP, 0, outputs)
        return GroupedRows(
            functional.pad(self.codes_OI, (0, inputs, 0, outputs)),
            functional.pad(self.scale_OG, groups),
            None if self.minimum_OG is None else functional.pad(self.minimum_OG, groups),
            self.bits,
        )

    @property
    def shape(self) -> torch.Size:
        return self.codes_OI.shape

    @property
    def nbytes(self) -> int:
        """Size when packed."""
        minima = 0 if self.minimum_OG is None else self.minimum_OG.nbytes
        return self.codes_OI.nbytes * self.bits // 8 + self.scale_OG.nbytes + minima

    def dequantised(self) -> Tensor:
        """The weights in float32, (O, I)."""
        outputs, inputs = self.shape
        codes = self.codes_OI.view(outputs, -1, GROUP).float()
        weights = codes * self.scale_OG.float().unsqueeze(-1) + self.minima().float().unsqueeze(-1)
        return weights.view(outputs, inputs)


def plain(weight_OI: Tensor | GroupedRows) -> Tensor:
    """The matrix as a plain tensor, dequantised if it is quantised."""
    return weight_OI.dequantised() if isinstance(weight_OI, GroupedRows) else weight_OI


class GroupedEmbedding(nn.Module):
    """Replaces `model.nn.embedding.Embedding`."""

    def __init__(self, rows: GroupedRows) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, tokens_T: Tensor) -> Tensor:
        return self.rows.rows(tokens_T).dequantised()


class GroupedLinear(nn.Module):
    """Replaces `model.nn.linear.Linear`: (T, I) to (T, O).

    A slow reference that dequantises the weights in each call. model/native has the fast product, and is tested against
    this one.
    """

    def __init__(self, rows: GroupedRows) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x_TI: Tensor) -> Tensor:
        return functional.linear(x_TI, self.rows.dequantised().to(x_TI.dtype))
