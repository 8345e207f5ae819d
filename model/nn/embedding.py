"""Embedding of tokens. A quantised one can replace it.

Suffixes: T tokens, V vocabulary, D model width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Embedding(nn.Module):
    """A vector for each token. The weight is uninitialised until it is loaded."""

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.weight_VD = nn.Parameter(torch.empty(vocab, width))

    def forward(self, tokens_T: Tensor) -> Tensor:
        return functional.embedding(tokens_T, self.weight_VD)
