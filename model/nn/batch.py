"""Layout of a step: which tokens belong to which sequence, and where their keys and values are stored.

Everything that layers need is computed here once per step and reach, not once per layer. A query at position
p sees the keys at j <= p. In a layer with window w, p - j < w or j < sinks (the first tokens) must also hold.
Suffixes: T tokens, S sequences (in `Decode`, the decoding ones), C context slots (padded), Q queries of one sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.nn.shape import EVERYTHING, Reach

# Queries per tile of a prefill with a window. A tile reads all keys that any of its queries sees: smaller tiles read
# fewer keys in vain, larger ones make better use of the matrix product.
TILE = 256


@dataclass(frozen=True)
class Prefill:
    """Queries of a sequence with more than one new token: all of them, or one tile.

    Attributes:
        start, stop: rows of the queries in the flat batch.
        slots_C: cache slots of the keys that the queries read; None if this batch contains all of these keys.
        rows_C: if ``slots_C`` is None, rows of the keys in the flat batch; None if they are the queries' own rows.
        mask_QC: additive mask of what each query sees; None if plain causal masking is enough.
    """

    start: int
    stop: int
    slots_C: Tensor | None
    rows_C: Tensor | None
    mask_QC: Tensor | None


@dataclass(frozen=True)
class Decode:
    """All sequences with exactly one new token, attended together.

    Attributes:
        rows_S: rows of the sequences in the flat batch; None if they are the whole batch, in order.
        slots_SC: cache slots that each sequence attends to, padded with slot 0.
        mask_S11C: additive mask, minus infinity at the padding; None without padding.
    """

    rows_S: Tensor | None
    slots_SC: Tensor
    mask_S11C: Tensor | None


@dataclass(frozen=True)
class Shared:
    """Sequences of which some begin with rows of others. X: tokens of all sequences, with their beginnings.

    Attributes:
        rows_X: row in the batch of each sequence's tokens, one sequence after the other.
        places_T: for each row of the batch, its place among ``rows_X`` as a token of its own sequence.
    """

    rows_X: Tensor
    places_T: Tensor


@dataclass(frozen=True)
class Whole:
    """Sequences that the batch contains completely, for which plain causal attention is enough.

    Attributes:
        lengths: tokens of each sequence.
        begun: how many of them, at its beginning, are rows of an earlier sequence and have been attended there.
        shared: the rows, if sequences share some.
    """

    lengths: tuple[int, ...]
    begun: tuple[int, ...]
    shared: Shared | None


@dataclass(frozen=True)
class View:
    """Layout of a step for the heads of one reach: which keys and values they write and read.

    Attributes:
        slots_T: cache slot for each token's key and value.
        whole: all queries of the step, if the batch contains all sequences completely.
        prefills, decode: all queries of the step otherwise.
    """

    slots_T: Tensor
    whole: Whole | None
    prefills: tuple[Prefill, ...]
    decode: Decode | None


@dataclass(frozen=True)
class AttentionBatch:
    """A ragged batch of prefilling and decoding sequences with concatenated tokens. Created by `build` or `dense`.

    Attributes:
        query_lens: new tokens of each sequence. context_lens: tokens of each sequence after this step, including the
            new ones.
        positions_T: position of each token in its sequence.
        last_S: row of each sequence's last token, from which the next one is sampled.
        views: by reach; always contains `EVERYTHING`.
    """

    query_lens: tuple[int, ...]
    context_lens: tuple[int, ...]
    positions_T: Tensor
    last_S: Tensor
    views: Mapping[Reach, View]

    @property
    def tokens(self) -> int:
        """T, the number of tokens in the batch."""
        return sum(self.query_lens)

    @classmethod
    def build(
        cls,
        query_lens: Sequence[int],
        context_lens: Sequence[int],
        block_tables: Sequence[Sequence[int]],
        block_size: int,
        dtype: torch.dtype = torch.float32,
        *,
        reaches: Iterable[Reach] = (),
        sinks: int = 0,
        window_tables: Sequence[Sequence[int]] | None = None,
        tile: int = TILE,
    ) -> AttentionBatch:
        """Lays out one step.

        Args:
            query_lens: new tokens of each sequence, at least 1.
            context_lens: tokens of each sequence including the new ones, at least its query length.
            block_tables: block ids of each sequence, enough for its context.
            block_size: tokens per block.
            dtype: dtype of the activations, for the masks.
            reaches: reaches of the decoder's layers (`DecoderConfig.reaches`). sinks: `DecoderConfig.sinks`.
            window_tables: block ids for bounded layers; entries outside the window and the sinks are never read.
            tile: queries per tile of a prefill with a window (see `TILE`).
        """
        assert len(query_lens) == len(context_lens) == len(block_tables), "one entry per sequence"
        full, near = (
            [_slots(table, context, block_size) for table, context in zip(tables, context_lens, strict=True)]
            for tables in (block_tables, block_tables if window_tables is None else window_tables)
        )
        return _Layout(query_lens, context_lens, dtype, sinks, tile, cached=True).batch(reaches, full, near)

    @classmethod
    def dense(
        cls,
        query_lens: Sequence[int],
        dtype: torch.dtype = torch.float32,
        *,
        reaches: Iterable[Reach] = (),
        sinks: int = 0,
        tile: int = TILE,
        begun: Sequence[Sequence[int]] = (),
    ) -> AttentionBatch:
        """Lays out complete sequences, which need no KV cache (`NoCache`): for training, evaluation and reference runs.

        Args:
            begun: for each sequence, batch rows of the prefix that it shares with other sequences and attends to.
        """
        begun = begun or [()] * len(query_lens)
        ends = torch.tensor(query_lens).cumsum(0).tolist()
        rows = [
            torch.cat([torch.tensor(first, dtype=torch.int64), torch.arange(end - length, end)])
            for first, end, length in zip(begun, ends, query_lens, strict=True)
        ]
        context_lens = [len(each) for each in rows]
        return _Layout(query_lens, context_lens, dtype, sinks, tile, cached=False).batch(reaches, rows, rows)


class _Layout:
    """Common data of all views of a step."""

    def __init__(
        self,
        query_lens: Sequence[int],
        context_lens: Sequence[int],
        dtype: torch.dtype,
        sinks: int,
        tile: int,
        cached: bool,
    ) -> None:
        assert query_lens, "a batch has at least one sequence"
        self.lens = list(zip(query_lens, context_lens, strict=True))
        assert all(1 <= query <= context for query, context in self.lens), "1 <= query <= context"
        ends = torch.tensor(query_lens).cumsum(0)
        self.last_S = ends - 1
        self.starts: list[int] = (ends - torch.tensor(query_lens)).tolist()
        self.dtype, self.sinks, self.tile, self.cached = dtype, sinks, tile, cached

    def batch(self, reaches: Iterable[Reach], full: list[Tensor], near: list[Tensor]) -> AttentionBatch:
        views = {each: self._view(each.window, near if each.bounded else full) for each in {EVERYTHING, *reaches}}
        return AttentionBatch(
            query_lens=tuple(query for query, _ in self.lens),
            context_lens=tuple(context for _, context in self.lens),
            positions_T=torch.cat([torch.arange(context - query, context) for query, context in self.lens]),
            last_S=self.last_S,
            views=views,
        )

    def _view(self, window: int, contexts: list[Tensor]) -> View:
        written = [slots[context - query :] for (query, context), slots in zip(self.lens, contexts, strict=True)]
        if whole := self._whole(contexts, window):
            return View(torch.cat(written), whole, (), None)
        prefills: list[Prefill] = []
        rows, seen = [], []
        for (query, context), start, slots_C in zip(self.lens, self.starts, contexts, strict=True):
            if self.cached and query == 1:
                rows.append(start)
                seen.append(slots_C[self._seen(context - 1, context, window)])
            elif query == context and (not window or context <= window):
                prefills.append(Prefill(start, start + query, None, None, None))
            else:
                prefills += self._tiles(start, query, context, slots_C, window)
        return View(torch.cat(written), None, tuple(prefills), _decode(rows, seen, not prefills, self.dtype))

    def _whole(self, contexts: list[Tensor], window: int) -> Whole | None:
        begun = tuple(context - query for query, context in self.lens)
        lengths = tuple(context for _, context in self.lens)
        if window and max(lengths) > window:
            return None
        if not any(begun):
            return None if self.cached and any(length == 1 for length in lengths) else Whole(lengths, begun, None)
        if self.cached:
            return None
        ends = torch.tensor(lengths).cumsum(0).tolist()
        places = [torch.arange(end - query, end) for end, (query, _) in zip(ends, self.lens, strict=True)]
        return Whole(lengths, begun, Shared(torch.cat(contexts), torch.cat(places)))

    def _tiles(self, start: int, query: int, context: int, slots_C: Tensor, window: int) -> list[Prefill]:
        """Splits a prefill that needs a mask into tiles; without a window, it is a single tile."""
        size = self.tile if window else query
        tiles = []
        for first in range(context - query, context, size):
            last = min(first + size, context)
            seen_C = self._seen(first, last, window)
            mask_QC = self._mask(torch.arange(first, last), seen_C, window)
            slots: Tensor | None
            rows: Tensor | None
            row = start + first - (context - query)
            if not self.cached:
                slots, rows = None, slots_C[seen_C]
            elif query == context:  # the batch contains the whole sequence
                slots, rows = None, seen_C + start
            else:
                slots, rows = slots_C[seen_C], None
            tiles.append(Prefill(row, row + last - first, slots, rows, mask_QC))
        return tiles

    def _seen(self, first: int, last: int, window: int) -> Tensor:
        """Sorted positions of the keys that any query from ``first`` to ``last`` (excluded) sees."""
        begin = max(0, first - window + 1) if window else 0
        return torch.cat([torch.arange(min(self.sinks, begin)), torch.arange(begin, last)])

    def _mask(self, queries_Q: Tensor, keys_C: Tensor, window: int) -> Tensor:
        distance_QC = queries_Q.unsqueeze(1) - keys_C
        hidden_QC = distance_QC < 0
        if window:
            hidden_QC |= (distance_QC >= window) & (keys_C >= self.sinks)
        return torch.zeros(hidden_QC.shape, dtype=self.dtype).masked_fill_(hidden_QC, float("-inf"))


def _slots(table: Sequence[int], context: int, block_size: int) -> Tensor:
    blocks = -(-context // block_size)
    assert len(table) >= blocks, f"{context} tokens need {blocks} blocks, the table has {len(table)}"
    first = torch.tensor(table[:blocks], dtype=torch.int64).unsqueeze(1) * block_size
    return (first + torch.arange(block_size)).flatten()[:context]


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
