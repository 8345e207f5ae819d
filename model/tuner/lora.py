"""LoRA adapters for training (Hu et al., 2022): trainable low-rank matrices added to frozen ones.

Suffixes: T tokens, O outputs, I inputs, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.nn.decoder import Block, Decoder
from model.nn.linear import Linear
from model.nn.moe import SharedExpert
from model.weights.lora import lora_state


class LowRank(Linear):
    """A frozen linear layer plus a LoRA adapter, whose output is zero at first."""

    def __init__(self, base: Linear, rank: int, source: torch.Generator) -> None:
        outputs, inputs = base.weight_OI.shape
        super().__init__(inputs, outputs)
        self.weight_OI = base.weight_OI
        self.down_RI = nn.Parameter(torch.randn(rank, inputs, generator=source) * inputs**-0.5)
        self.up_OR = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x_TI: Tensor) -> Tensor:
        low_TR = functional.linear(x_TI, self.down_RI)
        return functional.linear(x_TI, self.weight_OI) + functional.linear(low_TR, self.up_OR)


def add_lora(decoder: Decoder, rank: int) -> dict[str, Tensor]:
    """Adds adapters to the linear layers of attention and of the feed-forward for all tokens. Deterministic.

    Returns:
        Trainable tensors, by name in the decoder's state.
    """
    source = torch.Generator().manual_seed(0)
    for block in decoder.blocks:
        assert isinstance(block, Block)
        block.attention.qkv = _beside(block.attention.qkv, rank, source)
        block.attention.out = _beside(block.attention.out, rank, source)
        if isinstance(block.moe.shared, SharedExpert):
            block.moe.shared.gate_up = _beside(block.moe.shared.gate_up, rank, source)
            block.moe.shared.down = _beside(block.moe.shared.down, rank, source)
    return lora_state(dict(decoder.named_parameters()))


def _beside(base: nn.Module, rank: int, source: torch.Generator) -> LowRank:
    assert isinstance(base, Linear), "quantised matrices cannot be tuned"
    return LowRank(base, rank, source).to(base.weight_OI.device)
