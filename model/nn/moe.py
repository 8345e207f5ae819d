"""Mixture of experts in the style of DeepSeekMoE (Dai et al., 2024): one shared expert for all tokens, many narrow
routed ones.

Suffixes: T tokens, D model width, F width of the shared expert, E routed experts, A active per token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.nn.dispatch import Dispatcher, LocalDispatcher
from model.nn.experts import Experts
from model.nn.linear import Linear
from model.nn.shape import DecoderConfig


class SharedExpert(nn.Module):
    """The gated feed-forward for every token (Shazeer, 2020). One product computes gate and up."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = Linear(width, 2 * hidden)
        self.down = Linear(hidden, width)

    def forward(self, x_TD: Tensor) -> Tensor:
        gate_TF, up_TF = self.gate_up(x_TD).chunk(2, -1)
        return self.down(functional.silu(gate_TF) * up_TF)  # type: ignore[no-any-return]


class Router(nn.Module):
    """Chooses A experts per token by softmax.

    ``bias_E`` affects the choice, not the weights: tuning adjusts it so that all experts are used (Wang et al., 2024).
    It is zero in published checkpoints, which were balanced in other ways.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(config.experts, config.width))
        self.bias_E = nn.Parameter(torch.zeros(config.experts))
        self.active, self.normalise = config.active, config.normalise

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Chosen experts (T, A), int64, and their weights (T, A), in x's dtype. Scores are compared in float32."""
        score_TE = torch.softmax(functional.linear(x_TD, self.weight_ED), -1, dtype=torch.float32)
        choice_TA = (score_TE + self.bias_E).topk(self.active, -1, sorted=False).indices
        weight_TA = score_TE.gather(1, choice_TA)
        if self.normalise:
            weight_TA = weight_TA / weight_TA.sum(-1, keepdim=True)
        return choice_TA, weight_TA.to(x_TD.dtype)


class MoE(nn.Module):
    """Shared expert plus the weighted sum of the chosen routed experts."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.shared = SharedExpert(config.width, config.shared_width) if config.shared_width else None
        self.router = Router(config) if config.experts else None
        self.experts = Experts(config.experts, config.width, config.expert_width) if config.experts else None
        self.dispatcher: Dispatcher = LocalDispatcher()

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor | None]:
        """Maps (T, D) to (T, D). Also returns each token's experts, (T, A); None in a dense model."""
        shared_TD = self.shared(x_TD) if self.shared is not None else None
        if self.router is None or self.experts is None:
            assert shared_TD is not None
            return shared_TD, None
        choice_TA, weight_TA = self.router(x_TD)
        routed_TD = self.dispatcher(x_TD, choice_TA, weight_TA, self.experts)
        return routed_TD if shared_TD is None else shared_TD + routed_TD, choice_TA
