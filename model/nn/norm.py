"""Root-mean-square norm. Suffixes: D last axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RmsNorm(nn.Module):
    """``x / rms(x) * weight`` over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight_D = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D), returns the same shape and dtype."""
        return functional.rms_norm(x, self.weight_D.shape, self.weight_D, self.eps)
