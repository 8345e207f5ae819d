"""Routed experts of one layer with stacked weights, and three ways to run them.

Suffixes: T tokens, D model width, E experts, R width of an expert, A active per token, X = 2R (gate, then up),
Y rows of (token, expert) pairs sorted by expert, I a few such pairs, unsorted.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional


class Way(StrEnum):
    """How to compute the experts of a batch. The results differ only by rounding."""

    ALL = "all"  # one product with all experts side by side; unchosen ones have weight zero
    GATHERED = "gathered"  # one batched product; each pair has its own copy of an expert
    SORTED = "sorted"  # pairs sorted by expert; one product per expert in use


# Below this width, running all experts side by side costs less than selecting some.
ALL_WIDTH = 512
# Up to this many pairs, copying each pair's expert costs less than a product per expert.
GATHERED_PAIRS = 4


def choose_way(pairs: int, experts: int, width: int) -> Way:
    """The fastest `Way` to run ``pairs`` (token, expert) pairs through ``experts`` experts of width ``width``."""
    if experts * width <= ALL_WIDTH:
        return Way.ALL
    return Way.GATHERED if pairs <= GATHERED_PAIRS else Way.SORTED


class Experts(nn.Module):
    """E gated feed-forward networks. In ``gate_up_EXD``, gate rows precede up rows; ``down_DER`` is a single matrix."""

    def __init__(self, experts: int, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up_EXD = nn.Parameter(torch.empty(experts, 2 * hidden, width))
        self.down_DER = nn.Parameter(torch.empty(width, experts, hidden))

    @property
    def count(self) -> int:
        """E, the number of experts."""
        return self.gate_up_EXD.shape[0]

    @property
    def hidden(self) -> int:
        """R, the width of an expert."""
        return self.down_DER.shape[2]

    def part(self, first: int, last: int) -> Experts:
        """A module with copies of the experts ``first`` to ``last`` (excluded)."""
        part = Experts(0, self.gate_up_EXD.shape[2], self.hidden)
        part.gate_up_EXD = nn.Parameter(self.gate_up_EXD.detach()[first:last].clone(), requires_grad=False)
        part.down_DER = nn.Parameter(self.down_DER.detach()[:, first:last].clone(), requires_grad=False)
        return part

    def forward(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor) -> Tensor:
        """Weighted sum of the chosen experts, (T, D), computed in the fastest way."""
        way = choose_way(choice_TA.numel(), self.count, self.hidden)
        return self.run(way, x_TD, choice_TA, weight_TA)

    def run(self, way: Way, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor) -> Tensor:
        """Like `forward`, but computed in the given way."""
        if way is Way.ALL:
            return self._all(x_TD, choice_TA, weight_TA)
        if way is Way.GATHERED:
            return self._gathered(x_TD, choice_TA, weight_TA)
        return self._sorted(x_TD, choice_TA, weight_TA)

    def _all(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor) -> Tensor:
        E, X, D = self.gate_up_EXD.shape
        weight_TE = torch.zeros(x_TD.shape[0], E, dtype=x_TD.dtype).scatter(1, choice_TA, weight_TA)
        both_TEX = functional.linear(x_TD, self.gate_up_EXD.view(E * X, D)).view(-1, E, X)
        hidden_TER = _gated(both_TEX) * weight_TE.unsqueeze(-1)
        return functional.linear(hidden_TER.flatten(1), self.down_DER.view(D, E * self.hidden))

    def _gathered(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor) -> Tensor:
        T, A = choice_TA.shape
        choice_I = choice_TA.flatten()
        x_ID = x_TD.repeat_interleave(A, 0)
        hidden_IR = _gated(torch.bmm(self.gate_up_EXD[choice_I], x_ID.unsqueeze(-1)).squeeze(-1))
        y_ID = torch.einsum("dir,ir->id", self.down_DER[:, choice_I], hidden_IR)
        return (y_ID * weight_TA.reshape(-1, 1)).view(T, A, -1).sum(1)

    def _sorted(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor) -> Tensor:
        order_Y = choice_TA.flatten().argsort(stable=True)
        token_Y = order_Y // choice_TA.shape[1]
        counts = choice_TA.flatten().bincount(minlength=self.count).tolist()
        y_YD = self.rows(x_TD[token_Y], counts) * weight_TA.flatten()[order_Y].unsqueeze(-1)
        return torch.zeros_like(x_TD).index_add(0, token_Y, y_YD)

    def rows(self, x_YD: Tensor, counts: list[int]) -> Tensor:
        """Runs rows sorted by expert, ``counts`` per expert, through their experts: (Y, D) to (Y, D), unweighted."""
        parts = [
            functional.linear(_gated(functional.linear(part_YD, self.gate_up_EXD[expert])), self.down_DER[:, expert])
            for expert, part_YD in enumerate(torch.split(x_YD, counts))
            if len(part_YD)
        ]
        return torch.cat(parts) if parts else torch.empty_like(x_YD)


def _gated(both: Tensor) -> Tensor:
    gate, up = both.chunk(2, -1)
    return functional.silu(gate) * up
