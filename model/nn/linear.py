"""The one place where a matrix product with weights happens, so that a quantised one can stand in for it.

Suffixes: O outputs, I inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """A product without bias. The weight starts uninitialised: loaders fill it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_OI = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x_TI: Tensor) -> Tensor:
        return functional.linear(x_TI, self.weight_OI)
