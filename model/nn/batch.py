"""The layout of one step: which tokens belong to which sequence, and where their keys and values lie.

Everything a layer needs is worked out once per step here, not once per layer.
Suffixes: T tokens, S sequences (of the decoding ones), C context slots (padded), Q query tokens of one sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prefill:
    """One sequence that brings more than one token.

    Attributes:
        start, stop: its rows in the flat batch.
        slots_C: slots of its whole context, or None when the context is nothing but these tokens.
        mask_QC: what each query may see, additive, or None when plain causal masking does.
    """

    start: int
    stop: int
    slots_C: Tensor | None
    mask_QC: Tensor | None


@dataclass(frozen=True)
class Decode:
    """All sequences that bring exactly one token, attended together.

    Attributes:
        rows_S: their rows in the flat batch, or None when they are the whole batch, in order.
        slots_SC: slots of their contexts, padded with slot 0.
        mask_S11C: additive, minus infinity over the padding; None without padding.
    """

    rows_S: Tensor | None
    slots_SC: Tensor
    mask_S11C: Tensor | None


@dataclass(frozen=True)
class AttentionBatch:
    """A ragged batch of prefilling and decoding sequences, in the order of their tokens. Made by `build` or `dense`.

    Attributes:
        query_lens: new tokens of each sequence. context_lens: tokens of each sequence after this step, the new ones
            included.
        positions_T: position of each token in its sequence. slots_T: where its key and value are written.
        last_S: row of each sequence's last token, which is the one to sample from.
    """

    query_lens: tuple[int, ...]
    context_lens: tuple[int, ...]
    positions_T: Tensor
    slots_T: Tensor
    last_S: Tensor
    prefills: tuple[Prefill, ...]
    decode: Decode | None

    @property
    def tokens(self) -> int:
        """T."""
        return sum(self.query_lens)

    @classmethod
    def build(
        cls,
        query_lens: Sequence[int],
        context_lens: Sequence[int],
        block_tables: Sequence[Sequence[int]],
        block_size: int,
        dtype: torch.dtype = torch.float32,
    ) -> AttentionBatch:
        """Lays out one step.

        Args:
            query_lens: new tokens of each sequence, at least 1.
            context_lens: tokens of each sequence with the new ones, at least its query length.
            block_tables: block ids of each sequence, enough for its context.
            block_size: tokens per block.
            dtype: of the activations, for the masks.
        """
        assert len(query_lens) == len(context_lens) == len(block_tables), "one entry per sequence"
        contexts = [
            _slots(table, context, block_size) for table, context in zip(block_tables, context_lens, strict=True)
        ]
        return cls._make(query_lens, context_lens, contexts, dtype)

    @classmethod
    def dense(cls, query_lens: Sequence[int], dtype: torch.dtype = torch.float32) -> AttentionBatch:
        """Whole sequences that need no cache (`NoCache`): for training, evaluation and oracles."""
        ends = torch.tensor(query_lens).cumsum(0).tolist()
        contexts = [torch.arange(end - length, end) for end, length in zip(ends, query_lens, strict=True)]
        return cls._make(query_lens, query_lens, contexts, dtype, cached=False)

    @classmethod
    def _make(
        cls,
        query_lens: Sequence[int],
        context_lens: Sequence[int],
        contexts: Sequence[Tensor],
        dtype: torch.dtype,
        cached: bool = True,
    ) -> AttentionBatch:
        assert query_lens, "a batch has at least one sequence"
        assert all(1 <= q <= c for q, c in zip(query_lens, context_lens, strict=True)), "1 <= query <= context"
        ends = torch.tensor(query_lens).cumsum(0)
        starts = (ends - torch.tensor(query_lens)).tolist()
        decoding = [i for i, length in enumerate(query_lens) if cached and length == 1]
        prefills = tuple(
            _prefill(starts[i], length, context_lens[i], contexts[i], dtype)
            for i, length in enumerate(query_lens)
            if not (cached and length == 1)
        )
        pairs = list(zip(query_lens, context_lens, strict=True))
        return cls(
            query_lens=tuple(query_lens),
            context_lens=tuple(context_lens),
            positions_T=torch.cat([torch.arange(c - q, c) for q, c in pairs]),
            slots_T=torch.cat([slots[c - q :] for (q, c), slots in zip(pairs, contexts, strict=True)]),
            last_S=ends - 1,
            prefills=prefills,
            decode=_decode([starts[i] for i in decoding], [contexts[i] for i in decoding], not prefills, dtype),
        )


def _slots(table: Sequence[int], context: int, block_size: int) -> Tensor:
    blocks = -(-context // block_size)
    assert len(table) >= blocks, f"{context} tokens need {blocks} blocks, the table has {len(table)}"
    first = torch.tensor(table[:blocks], dtype=torch.int64).unsqueeze(1) * block_size
    return (first + torch.arange(block_size)).flatten()[:context]


def _prefill(start: int, query: int, context: int, slots_C: Tensor, dtype: torch.dtype) -> Prefill:
    if query == context:
        return Prefill(start, start + query, None, None)
    visible_QC = torch.ones(query, context, dtype=torch.bool).tril(context - query)
    mask_QC = torch.zeros(query, context, dtype=dtype).masked_fill_(~visible_QC, float("-inf"))
    return Prefill(start, start + query, slots_C, mask_QC)


def _decode(rows: list[int], contexts: list[Tensor], alone: bool, dtype: torch.dtype) -> Decode | None:
    if not rows:
        return None
    lengths_S = torch.tensor([len(context) for context in contexts])
    slots_SC = torch.nn.utils.rnn.pad_sequence(contexts, batch_first=True)
    padding_SC = torch.arange(slots_SC.shape[1]) >= lengths_S.unsqueeze(1)
    mask = None
    if bool(padding_SC.any()):
        mask = torch.zeros(padding_SC.shape, dtype=dtype).masked_fill_(padding_SC, float("-inf"))[:, None, None, :]
    return Decode(None if alone else torch.tensor(rows), slots_SC, mask)
