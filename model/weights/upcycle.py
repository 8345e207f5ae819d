"""Turns a dense model into a mixture of experts with exactly the same output.

The dense feed-forward becomes the shared expert. The added routed experts have a down projection of zero, so they
contribute nothing until they are trained (sparse upcycling, Komatsuzaki et al., 2023, with DeepSeekMoE's shared
expert).
Suffixes: E experts, X gate and up rows, D model width, R expert width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from model.nn.shape import DecoderConfig


def upcycled(config: DecoderConfig, experts: int, width: int, active: int) -> DecoderConfig:
    """The shape of a dense decoder with added routed experts."""
    assert config.experts == 0, "only a dense model can be upcycled"
    return replace(config, experts=experts, expert_width=width, active=active, normalise=True)


def untrained_experts(config: DecoderConfig, seed: int) -> dict[str, Tensor]:
    """Routers and experts that contribute nothing yet, float32, by name in the decoder's state.

    Gate, up and router are drawn from a normal distribution with standard deviation 1 / sqrt(D), so that training can
    start: if all were zero, no gradient would reach them.
    """
    generator = torch.Generator().manual_seed(seed)
    E, R, D = config.experts, config.expert_width, config.width

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).mul_(D**-0.5)

    state: dict[str, Tensor] = {}
    for layer in range(config.layers):
        moe = f"blocks.{layer}.moe"
        state[f"{moe}.router.weight_ED"] = drawn(E, D)
        state[f"{moe}.router.bias_E"] = torch.zeros(E)
        state[f"{moe}.experts.gate_up_EXD"] = drawn(E, 2 * R, D)
        state[f"{moe}.experts.down_DER"] = torch.zeros(D, E, R)
    return state
