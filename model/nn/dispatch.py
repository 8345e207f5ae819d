"""Dispatches tokens to routed experts: in this process, or over the ranks of a process group.

Suffixes: T tokens, D model width, A active experts per token, W ranks, L tokens of this rank's slice (L = ceil(T / W)),
I the (token, expert) pairs of this rank's slice, Y pairs that this rank's experts process.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from model.nn.experts import Experts


class Dispatcher(Protocol):
    """Runs the chosen experts of a layer for a batch of tokens."""

    def __call__(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor, experts: Experts, /) -> Tensor:
        """Weighted sum of each token's chosen experts, (T, D)."""
        ...

    def own(self, experts: Experts, /) -> Experts:
        """The part of a layer's experts that this process runs."""
        ...


class LocalDispatcher:
    """Runs all experts in this process."""

    def __call__(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor, experts: Experts, /) -> Tensor:
        return experts(x_TD, choice_TA, weight_TA)  # type: ignore[no-any-return]

    def own(self, experts: Experts, /) -> Experts:
        return experts


class AllToAllDispatcher:
    """Gives each rank an equal share of the experts, and exchanges tokens between ranks by all-to-all.

    Every rank computes attention and routing itself, so all ranks know every choice and need not exchange counts. A
    layer takes one all-to-all out, one back, and one all-gather that gives all ranks the whole result.

    Args:
        group: the ranks; None is the default group. All ranks must make the same calls in the same order.
        experts: E, a multiple of the group's size.
    """

    def __init__(self, group: dist.ProcessGroup | None, experts: int) -> None:
        self.group = group
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        assert experts % self.ranks == 0, f"{experts} experts over {self.ranks} ranks"
        self.per_rank = experts // self.ranks

    def own(self, experts: Experts, /) -> Experts:
        if experts.count == self.per_rank:
            return experts
        return experts.part(self.rank * self.per_rank, (self.rank + 1) * self.per_rank)

    def __call__(self, x_TD: Tensor, choice_TA: Tensor, weight_TA: Tensor, experts: Experts, /) -> Tensor:
        T, A = choice_TA.shape
        D = x_TD.shape[1]
        L = -(-T // self.ranks)
        first = min(T, self.rank * L)
        mine = slice(first, min(T, first + L))

        # Send: this slice's pairs, sorted by expert and therefore by rank.
        pairs_WE = self._pairs(choice_TA, L)
        order_I = choice_TA[mine].flatten().argsort(stable=True)
        token_I = order_I // A
        sent = pairs_WE[self.rank].view(self.ranks, self.per_rank).sum(1).tolist()
        here_WE = pairs_WE[:, self.rank * self.per_rank : (self.rank + 1) * self.per_rank]
        got = here_WE.sum(1).tolist()
        x_YD = self._exchange(x_TD[mine][token_I], sent, got)

        # Rows arrive rank by rank, each sorted by expert. Group them by expert, and restore the order afterwards.
        expert_Y = torch.arange(self.per_rank).repeat(self.ranks).repeat_interleave(here_WE.flatten())
        by_expert_Y = expert_Y.argsort(stable=True)
        y_YD = torch.empty_like(x_YD)
        y_YD[by_expert_Y] = experts.rows(x_YD[by_expert_Y], here_WE.sum(0).tolist())

        # Return, weight, and share.
        y_ID = self._exchange(y_YD, got, sent) * weight_TA[mine].flatten()[order_I].unsqueeze(-1)
        sum_LD = torch.zeros(L, D, dtype=x_TD.dtype).index_add(0, token_I, y_ID)
        all_LD = [torch.empty_like(sum_LD) for _ in range(self.ranks)]
        dist.all_gather(all_LD, sum_LD, group=self.group)
        return torch.cat(all_LD)[:T]

    def _pairs(self, choice_TA: Tensor, slice_tokens: int) -> Tensor:
        """Number of pairs per slice and expert, (W, E)."""
        E = self.ranks * self.per_rank
        rank_T1 = (torch.arange(choice_TA.shape[0]) // slice_tokens).unsqueeze(1)
        return (rank_T1 * E + choice_TA).flatten().bincount(minlength=self.ranks * E).view(self.ranks, E)

    def _exchange(self, rows: Tensor, sent: list[int], got: list[int]) -> Tensor:
        received = rows.new_empty(sum(got), rows.shape[1])
        dist.all_to_all_single(received, rows.contiguous(), got, sent, group=self.group)
        return received
