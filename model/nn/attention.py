"""Grouped-query attention over a paged KV cache, for ragged batches of prefilling and decoding sequences.

Suffixes: T tokens, D model width, N query heads, K key/value heads, G = N / K, H head width, X = N + K,
Y = (N + 2K) * H, S decoding sequences, C context slots.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.nn.batch import AttentionBatch, Decode, Prefill, View, Whole
from model.nn.causal import Causal, attend, causal
from model.nn.linear import Linear
from model.nn.norm import RmsNorm
from model.nn.rope import rotate
from model.nn.shape import EVERYTHING, DecoderConfig

__all__ = ["Attention", "AttentionBatch", "KeyValues", "NoCache"]


class KeyValues(Protocol):
    """Storage of keys and values: `model.engine.kv_cache.KVCache` or `NoCache`."""

    def write(self, layer: int, key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor) -> None:
        """Stores one key and value per token at its slot."""
        ...

    def read(self, layer: int, slots_C: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values at these slots, both (C, K, H)."""
        ...


class NoCache:
    """`KeyValues` without storage, for complete sequences laid out by `AttentionBatch.dense`. Lets gradients flow."""

    def write(self, layer: int, key_TKH: Tensor, value_TKH: Tensor, slots_T: Tensor) -> None:
        """Does nothing."""

    def read(self, layer: int, slots_C: Tensor) -> tuple[Tensor, Tensor]:
        """Raises AssertionError, since nothing is stored."""
        raise AssertionError("NoCache supports only batches from AttentionBatch.dense")


class Attention(nn.Module):
    """Attention of one layer. A single matrix product computes queries, keys and values, in this order of rows."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.reach, self.globals = layer, config.reach(layer), config.globals(layer)
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        rows = (config.heads + 2 * config.kv_heads) * config.head_width
        self.qkv = Linear(config.width, rows)
        self.bias_Y = nn.Parameter(torch.empty(rows)) if config.qkv_bias else None
        self.out = Linear(config.heads * config.head_width, config.width)
        self.causal: Causal = causal
        self.full_norm = config.qk_norm == "full"
        self.q_norm: RmsNorm | None = None
        self.k_norm: RmsNorm | None = None
        if config.qk_norm != "none":
            spans = (config.heads, config.kv_heads) if self.full_norm else (1, 1)
            self.q_norm, self.k_norm = (RmsNorm(span * config.head_width, config.norm_eps) for span in spans)

    def forward(self, x_TD: Tensor, rope: tuple[Tensor, Tensor], kv: KeyValues, batch: AttentionBatch) -> Tensor:
        """Writes the new keys and values into ``kv``, then attends and projects: (T, D) to (T, D)."""
        N, K = self.heads, self.kv_heads
        # Split instead of slices: the gradient of a slice is as large as the whole tensor.
        qkv_TY = self.qkv(x_TD) if self.bias_Y is None else self.qkv(x_TD) + self.bias_Y
        turning_TXH, value_TKH = torch.split(qkv_TY.view(-1, N + 2 * K, self.head_width), [N + K, K], 1)
        query_TNH, key_TKH = torch.split(rotate(self._normed(turning_TXH), *rope), [N, K], 1)
        view = batch.views[self.reach]
        kv.write(self.layer, key_TKH, value_TKH, view.slots_T)
        if not self.globals:
            return self._project(self._attend(view, query_TNH, key_TKH, value_TKH, kv, None))
        near = [head for head in range(K) if head not in self.globals]
        parts = [
            self._attend(part, self._grouped(query_TNH)[:, heads].flatten(1, 2), key_TKH, value_TKH, kv, heads)
            for part, heads in ((view, near), (batch.views[EVERYTHING], list(self.globals)))
            if heads
        ]
        back = torch.tensor([*near, *self.globals]).argsort()
        return self._project(self._grouped(torch.cat(parts, 1))[:, back])

    def _grouped(self, x_TNH: Tensor) -> Tensor:
        """Reshapes to (T, K, G, H)."""
        return x_TNH.view(len(x_TNH), -1, self.heads // self.kv_heads, self.head_width)

    def _attend(
        self,
        view: View,
        query_TNH: Tensor,
        key_TKH: Tensor,
        value_TKH: Tensor,
        kv: KeyValues,
        heads: list[int] | None,
    ) -> Tensor:
        """Attention output of the queries, (T, N, H). ``heads``: key/value heads to use; None for all."""
        if view.whole is not None:
            key, value = (x if heads is None else x[:, heads] for x in (key_TKH, value_TKH))
            return self._causal(view.whole, query_TNH, key, value)
        parts = [self._prefill(prefill, query_TNH, key_TKH, value_TKH, kv, heads) for prefill in view.prefills]
        if view.decode is None:
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        mixed_SNH = self._decode(view.decode, query_TNH, kv, heads)
        if not parts:
            return mixed_SNH
        mixed_TNH = torch.empty_like(query_TNH)
        for prefill, part in zip(view.prefills, parts, strict=True):
            mixed_TNH[prefill.start : prefill.stop] = part
        mixed_TNH[view.decode.rows_S] = mixed_SNH
        return mixed_TNH

    def _causal(self, whole: Whole, query_TNH: Tensor, key_TKH: Tensor, value_TKH: Tensor) -> Tensor:
        if whole.shared is None:
            return self.causal(query_TNH, key_TKH, value_TKH, whole.lengths, whole.begun)
        # index_select, since the gradient of indexing is several times slower.
        query, key, value = (x.index_select(0, whole.shared.rows_X) for x in (query_TNH, key_TKH, value_TKH))
        return self.causal(query, key, value, whole.lengths, whole.begun).index_select(0, whole.shared.places_T)

    def _normed(self, x_TXH: Tensor) -> Tensor:
        if self.q_norm is None or self.k_norm is None:
            return x_TXH
        query_TNH, key_TKH = x_TXH[:, : self.heads], x_TXH[:, self.heads :]
        if self.full_norm:
            query_TNH = self.q_norm(query_TNH.flatten(1)).view_as(query_TNH)
            key_TKH = self.k_norm(key_TKH.flatten(1)).view_as(key_TKH)
        else:
            query_TNH, key_TKH = self.q_norm(query_TNH), self.k_norm(key_TKH)
        return torch.cat([query_TNH, key_TKH], 1)

    def _project(self, mixed_TNH: Tensor) -> Tensor:
        return self.out(mixed_TNH.reshape(-1, self.heads * self.head_width))  # type: ignore[no-any-return]

    def _prefill(
        self,
        prefill: Prefill,
        query_TNH: Tensor,
        key_TKH: Tensor,
        value_TKH: Tensor,
        kv: KeyValues,
        heads: list[int] | None,
    ) -> Tensor:
        rows = slice(prefill.start, prefill.stop)
        if prefill.slots_C is not None:
            key_CKH, value_CKH = kv.read(self.layer, prefill.slots_C)
        else:
            own = rows if prefill.rows_C is None else prefill.rows_C
            key_CKH, value_CKH = key_TKH[own], value_TKH[own]
        if heads is not None:
            key_CKH, value_CKH = key_CKH[:, heads], value_CKH[:, heads]
        return attend(query_TNH[rows], key_CKH, value_CKH, prefill.mask_QC)

    def _decode(self, decode: Decode, query_TNH: Tensor, kv: KeyValues, heads: list[int] | None) -> Tensor:
        query_SNH = query_TNH if decode.rows_S is None else query_TNH[decode.rows_S]
        S, C = decode.slots_SC.shape
        key, value = kv.read(self.layer, decode.slots_SC.flatten())
        if heads is not None:
            key, value = key[:, heads], value[:, heads]
        # Queries of a group share keys and, with one token each, the mask: they are rows of one small matrix.
        mixed_SKGH = functional.scaled_dot_product_attention(
            self._grouped(query_SNH),
            key.view(S, C, -1, self.head_width).transpose(1, 2),
            value.view(S, C, -1, self.head_width).transpose(1, 2),
            attn_mask=decode.mask_S11C,
        )
        return mixed_SKGH.reshape(S, -1, self.head_width)
