"""Rotary position embedding in the half-split layout (Su et al., 2021; the layout of Hugging Face checkpoints).

Suffixes: T tokens, N heads (of queries and keys together), H head width, X positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Rope(nn.Module):
    """Tables of cosines and signed sines, looked up once per step and used in every layer."""

    cos_XH: Tensor
    sin_XH: Tensor

    def __init__(self, head_width: int, theta: float, positions: int, factors: Sequence[float] = ()) -> None:
        super().__init__()
        half = head_width // 2
        # On the CPU even if modules are being made without memory: torch would import its compiler for that.
        inverse = theta ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
        if factors:
            inverse /= torch.tensor(factors, dtype=torch.float64, device="cpu")
        angle = torch.outer(torch.arange(positions, dtype=torch.float64, device="cpu"), inverse)
        self.register_buffer("cos_XH", torch.cat([angle.cos(), angle.cos()], -1).float(), persistent=False)
        # The table includes the rotation's minus sign, so that applying it takes a roll and a multiply-add.
        self.register_buffer("sin_XH", torch.cat([-angle.sin(), angle.sin()], -1).float(), persistent=False)

    def forward(self, positions_T: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines of these positions, both (T, 1, H)."""
        cos_T1H = self.cos_XH.index_select(0, positions_T).unsqueeze(1).to(dtype)
        sin_T1H = self.sin_XH.index_select(0, positions_T).unsqueeze(1).to(dtype)
        return cos_T1H, sin_T1H


def rotate(x_TNH: Tensor, cos_T1H: Tensor, sin_T1H: Tensor) -> Tensor:
    """Rotates each head's pairs (i, i + H/2) by the angle of its position."""
    return torch.addcmul(x_TNH * cos_T1H, x_TNH.roll(x_TNH.shape[-1] // 2, -1), sin_T1H)
