"""Linear layer of attention, shared experts and output projection. Quantised layers can replace it.

Suffixes: O outputs, I inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """A linear layer without bias. The weight is uninitialised until it is loaded."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_OI = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x_TI: Tensor) -> Tensor:
        return functional.linear(x_TI, self.weight_OI)
