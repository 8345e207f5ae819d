"""The decoder: embedding, blocks of attention and mixture of experts, norm, output projection.

Suffixes: T tokens, D model width, V vocabulary, N rows to score, E routed experts, A active per token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.nn.attention import Attention, AttentionBatch, KeyValues
from model.nn.dispatch import Dispatcher
from model.nn.embedding import Embedding
from model.nn.linear import Linear
from model.nn.moe import MoE
from model.nn.norm import RmsNorm
from model.nn.rope import Rope
from model.nn.shape import DecoderConfig


class Block(nn.Module):
    """One layer: attention and experts, each after a norm and with a residual connection."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RmsNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.moe_norm = RmsNorm(config.width, config.norm_eps)
        self.moe = MoE(config)

    def forward(
        self, x_TD: Tensor, rope: tuple[Tensor, Tensor], kv: KeyValues, batch: AttentionBatch
    ) -> tuple[Tensor, Tensor | None]:
        """Maps (T, D) to (T, D). Also returns each token's experts, (T, A); None in a dense model."""
        x_TD = x_TD + self.attention(self.attention_norm(x_TD), rope, kv, batch)
        y_TD, choice_TA = self.moe(self.moe_norm(x_TD))
        return x_TD + y_TD, choice_TA


class Decoder(nn.Module):
    """A decoder-only transformer over a ragged batch and a paged KV cache.

    ``expert_tokens_E`` counts the tokens routed to each expert, over all layers since the start (int64). It is empty
    for a dense model. A value read during a step may be one step old.
    """

    expert_tokens_E: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RmsNorm(config.width, config.norm_eps)
        self.head = Linear(config.width, config.vocab)
        if config.tied:
            self.head.weight_OI = self.embedding.weight_VD
        self.make_buffers()

    def make_buffers(self) -> None:
        """Creates the buffers that are computed rather than loaded: the rotary table and the counters."""
        config = self.config
        self.rope = Rope(config.head_width, config.rope_theta, config.max_positions, config.rope_factors)
        self.register_buffer("expert_tokens_E", torch.zeros(config.experts, dtype=torch.int64), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the activations, and thus of the KV cache and of `AttentionBatch`'s masks."""
        return self.norm.weight_D.dtype

    def forward(self, tokens_T: Tensor, positions_T: Tensor, kv: KeyValues, batch: AttentionBatch) -> Tensor:
        """Runs one step.

        Args:
            tokens_T: token ids, int64, sequence after sequence as in ``batch``.
            positions_T: position of each token in its sequence, int64 (``batch.positions_T``).
            kv: cache that the new keys and values are written to.
            batch: layout of the step.

        Returns:
            hidden_TD, normalised, as input of `logits`.
        """
        assert tokens_T.ndim == positions_T.ndim == 1, "tokens and positions are flat"
        assert len(tokens_T) == len(positions_T) == batch.tokens, "one token and position per row of the batch"
        x_TD = self.embedding(tokens_T)
        rope = self.rope(positions_T, x_TD.dtype)
        choices: list[Tensor] = []
        for block in self.blocks:
            x_TD, choice_TA = block(x_TD, rope, kv, batch)
            if choice_TA is not None:
                choices.append(choice_TA.flatten())
        if choices:
            self.expert_tokens_E += torch.cat(choices).bincount(minlength=self.config.experts)
        return self.norm(x_TD)  # type: ignore[no-any-return]

    def states(
        self, tokens_T: Tensor, positions_T: Tensor, kv: KeyValues, batch: AttentionBatch, layers: Sequence[int]
    ) -> Tensor:
        """Hidden states that enter the given layers, in ascending order, as (L, T, D) in float32.

        Runs the layers below the last of them. Other arguments as in `forward`; the experts' tokens aren't counted.
        """
        x_TD = self.embedding(tokens_T)
        rope = self.rope(positions_T, x_TD.dtype)
        states = [x_TD] if 0 in layers else []
        for index, block in enumerate(self.blocks[: layers[-1]], 1):
            x_TD, _ = block(x_TD, rope, kv, batch)
            if index in layers:
                states.append(x_TD)
        return torch.stack(states).float()

    def layout(
        self,
        query_lens: Sequence[int],
        context_lens: Sequence[int],
        block_tables: Sequence[Sequence[int]],
        block_size: int,
        window_tables: Sequence[Sequence[int]] | None = None,
    ) -> AttentionBatch:
        """`AttentionBatch.build` with this decoder's dtype, windows and sinks."""
        config = self.config
        return AttentionBatch.build(
            query_lens,
            context_lens,
            block_tables,
            block_size,
            self.dtype,
            reaches=config.reaches,
            sinks=config.sinks,
            window_tables=window_tables,
        )

    def dense_layout(self, query_lens: Sequence[int], begun: Sequence[Sequence[int]] = ()) -> AttentionBatch:
        """`AttentionBatch.dense` with this decoder's dtype, windows and sinks."""
        reaches, sinks = self.config.reaches, self.config.sinks
        return AttentionBatch.dense(query_lens, self.dtype, reaches=reaches, sinks=sinks, begun=begun)

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Logits of the next token: (N, D) to (N, V), float32."""
        return self.head(hidden_ND).float()  # type: ignore[no-any-return]

    def use_dispatcher(self, dispatcher: Dispatcher) -> None:
        """Runs the routed experts through ``dispatcher``, and drops the experts that this process doesn't need."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.moe.dispatcher = dispatcher
            if block.moe.experts is not None:
                block.moe.experts = dispatcher.own(block.moe.experts)
