"""Fits a probe: a thin network on standardised hidden states.

Suffixes: N examples, D width of the model, H hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
BATCH = 256
RATE, DECAY = 1e-3, 0.1
"""Learning rate and weight decay of AdamW."""
DROPOUT = 0.1, 0.3
"""Shares of the states and of the hidden units that are left out in training."""


@dataclass(frozen=True)
class Network:
    """``logit = relu(x_D · first_DH + offset_H) · second_H + bias``, for states as the model makes them."""

    first_DH: Floats
    offset_H: Floats
    second_H: Floats
    bias: float

    def __call__(self, x_ND: Floats) -> Floats:
        """Logits (N,)."""
        hidden_NH = np.maximum(x_ND @ self.first_DH + self.offset_H, 0)
        logit_N: Floats = hidden_NH @ self.second_H + np.float32(self.bias)
        return logit_N


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: hidden units, passes over the examples, seed of the first weights and of the order."""

    hidden: int = 48
    epochs: int = 30
    seed: int = 0


def fit_network(x_ND: Floats, wanted_N: Flags, weight_N: Floats, recipe: Recipe) -> Network:
    """Fits a network to the weighted logistic loss. Deterministic on one machine.

    Args:
        x_ND: hidden states.
        wanted_N: which of them a probe should find; both kinds occur.
        weight_N: weight of each. The two kinds are balanced: each counts half of the loss.
        recipe: how.
    """
    mean_D, deviation_D = x_ND.mean(0), x_ND.std(0) + 1e-6
    each_N = weight_N / np.where(wanted_N, weight_N[wanted_N].sum(), weight_N[~wanted_N].sum())
    given = ((x_ND - mean_D) / deviation_D, wanted_N, each_N / each_N.mean())
    x, wanted, each = (torch.from_numpy(one.astype(np.float32)) for one in given)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(recipe.seed)
        first, second = nn.Linear(x.shape[1], recipe.hidden), nn.Linear(recipe.hidden, 1)
        network = nn.Sequential(nn.Dropout(DROPOUT[0]), first, nn.ReLU(), nn.Dropout(DROPOUT[1]), second)
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        for _ in range(recipe.epochs):
            for rows in torch.split(torch.randperm(len(x)), BATCH):
                optimiser.zero_grad()
                loss = binary_cross_entropy_with_logits(network(x[rows])[:, 0], wanted[rows], each[rows])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    first_DH = (first.weight.detach().numpy() / deviation_D).T.astype(np.float32)
    offset_H = (first.bias.detach().numpy() - mean_D @ first_DH).astype(np.float32)
    return Network(first_DH, offset_H, second.weight.detach().numpy()[0].copy(), float(second.bias.detach()))
