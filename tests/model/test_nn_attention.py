"""Paged, ragged attention against dense attention computed from first principles."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from model.engine.kv_cache import KVCache
from model.nn.attention import Attention, AttentionBatch, NoCache
from model.nn.rope import Rope
from model.nn.shape import EVERYTHING, DecoderConfig, Reach

BLOCK = 4


def shape(qk_norm="none", window=0, sinks=0, global_heads=()):
    return DecoderConfig(
        vocab=10, layers=1, width=24, heads=4, kv_heads=2, head_width=8, shared_width=8, qk_norm=qk_norm,
        windows=(window,), sinks=sinks, global_heads=(global_heads,),
    )  # fmt: skip


def attention(seed, qk_norm="none", window=0, sinks=0, global_heads=()):
    torch.manual_seed(seed)
    layer = Attention(shape(qk_norm, window, sinks, global_heads), 0).requires_grad_(False)
    for parameter in layer.parameters():
        parameter.uniform_(-0.5, 0.5)
    return layer


def hidden(length, window, sinks):
    """Query by query and key by key: what may not be seen."""
    return torch.tensor(
        [[not (j <= p and (window == 0 or p - j < window or j < sinks)) for j in range(length)] for p in range(length)]
    )


def naive(layer, x_TD, sinks=0):
    """One whole sequence: every head by itself, rotary embedding as complex numbers."""
    N, K, H = layer.heads, layer.kv_heads, layer.head_width
    qkv = functional.linear(x_TD, layer.qkv.weight_OI).view(len(x_TD), N + 2 * K, H)
    angle = torch.outer(torch.arange(len(x_TD)).double(), 10_000.0 ** (-torch.arange(H // 2).double() / (H // 2)))
    turn = torch.polar(torch.ones_like(angle), angle)

    def rotated(x):
        y = torch.complex(x[:, : H // 2].double(), x[:, H // 2 :].double()) * turn
        return torch.cat([y.real, y.imag], -1)

    heads = []
    for head in range(N):
        group = head // (N // K)
        q, k, v = rotated(qkv[:, head]), rotated(qkv[:, N + group]), qkv[:, N + K + group].double()
        score = (q @ k.T / H**0.5).masked_fill(
            hidden(len(q), 0 if group in layer.globals else layer.reach.window, sinks), float("-inf")
        )
        heads.append(score.softmax(-1) @ v)
    return functional.linear(torch.cat(heads, -1).float(), layer.out.weight_OI)


def run(layer, x_TD, batch, kv, rope):
    return layer(x_TD, rope(batch.positions_T, x_TD.dtype), kv, batch)


@st.composite
def sequences(draw):
    """Sequences of tokens, each cut into the pieces that successive steps bring."""
    return draw(st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=4), min_size=1, max_size=4))


@settings(max_examples=80, deadline=None)
@given(
    cuts=sequences(),
    window=st.integers(0, 9),
    sinks=st.integers(0, 6),
    global_heads=st.sampled_from([(), (0,), (1,), (0, 1)]),
    tile=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_cut_into_steps_equals_whole_sequences(cuts, window, sinks, global_heads, tile, seed):
    layer, rope = attention(seed, window=window, sinks=sinks, global_heads=global_heads), Rope(8, 10_000.0, 64)
    inputs = [torch.randn(sum(pieces), 24) for pieces in cuts]
    blocks = sum(-(-len(x) // BLOCK) for x in inputs)
    free = torch.randperm(blocks + 3).tolist()
    tables = [[free.pop() for _ in range(-(-len(x) // BLOCK))] for x in inputs]
    kv = KVCache(1, blocks + 3, BLOCK, 2, 8, torch.float32)
    outputs = [[] for _ in cuts]
    for step in range(max(map(len, cuts))):
        live = [i for i, pieces in enumerate(cuts) if step < len(pieces)]
        query = [cuts[i][step] for i in live]
        context = [sum(cuts[i][: step + 1]) for i in live]
        used = [tables[i] for i in live]
        batch = AttentionBatch.build(query, context, used, BLOCK, reaches=(layer.reach,), sinks=sinks, tile=tile)
        x = torch.cat([inputs[i][c - q : c] for i, q, c in zip(live, query, context, strict=True)])
        for i, part in zip(live, run(layer, x, batch, kv, rope).split(query), strict=True):
            outputs[i].append(part)
    for x, parts in zip(inputs, outputs, strict=True):
        torch.testing.assert_close(torch.cat(parts), naive(layer, x, sinks), atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    window=st.integers(0, 9),
    sinks=st.integers(0, 6),
    global_heads=st.sampled_from([(), (0,), (1,)]),
    tile=st.integers(1, 9),
)
def test_whole_sequences_without_a_cache(lengths, window, sinks, global_heads, tile):
    layer, rope = attention(7, window=window, sinks=sinks, global_heads=global_heads), Rope(8, 10_000.0, 64)
    inputs = [torch.randn(length, 24) for length in lengths]
    batch = AttentionBatch.dense(lengths, reaches=(layer.reach,), sinks=sinks, tile=tile)
    outputs = run(layer, torch.cat(inputs), batch, NoCache(), rope).split(lengths)
    for x, output in zip(inputs, outputs, strict=True):
        torch.testing.assert_close(output, naive(layer, x, sinks), atol=1e-5, rtol=1e-5)


def test_a_decode_reads_no_more_than_sinks_and_window():
    table = list(range(16))
    batch = AttentionBatch.build(
        [1, 1], [60, 5], [table, table], BLOCK, reaches=(EVERYTHING, Reach(8), Reach(8)), sinks=3
    )
    assert batch.views[EVERYTHING].decode.slots_SC.shape == (2, 60)
    assert batch.views[Reach(8)].decode.slots_SC.tolist() == [[0, 1, 2, *range(52, 60)], [*range(5), *[0] * 6]]


def test_windows_use_their_own_blocks_and_never_read_behind_themselves():
    layer, rope = attention(8, window=4, sinks=2), Rope(8, 10_000.0, 64)
    kv = KVCache(1, 8, BLOCK, 2, 8, torch.float32)
    x = torch.randn(15, 24)
    layout = {"reaches": (layer.reach,), "sinks": 2}
    first = AttentionBatch.build([14], [14], [[7, 7, 7, 7]], BLOCK, window_tables=[[1, 2, 3, 4]], **layout)
    run(layer, x[:14], first, kv, rope)
    kv.write(0, torch.full((4, 2, 8), torch.nan), torch.full((4, 2, 8), torch.nan), torch.arange(8, 12))
    step = AttentionBatch.build([1], [15], [[7, 7, 7, 7]], BLOCK, window_tables=[[1, 0, 3, 4]], **layout)
    torch.testing.assert_close(run(layer, x[14:], step, kv, rope), naive(layer, x, 2)[14:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("qk_norm", ["none", "head", "full"])
def test_dense_batch_without_cache_equals_cached(qk_norm):
    layer, rope = attention(3, qk_norm), Rope(8, 10_000.0, 64)
    x = torch.randn(9, 24)
    cached = AttentionBatch.build([5, 1, 3], [5, 1, 3], [[0, 1], [2], [3]], BLOCK)
    dense = AttentionBatch.dense([5, 1, 3])
    kv = KVCache(1, 4, BLOCK, 2, 8, torch.float32)
    torch.testing.assert_close(run(layer, x, cached, kv, rope), run(layer, x, dense, NoCache(), rope))


def test_other_sequences_blocks_do_not_leak():
    layer, rope = attention(4), Rope(8, 10_000.0, 64)
    kv = KVCache(1, 4, BLOCK, 2, 8, torch.float32)
    x = torch.randn(3, 24)
    first = AttentionBatch.build([2], [2], [[1]], BLOCK)
    run(layer, x[:2], first, kv, rope)
    step = AttentionBatch.build([1], [3], [[1]], BLOCK)
    before = run(layer, x[2:], step, kv, rope)
    run(layer, torch.randn(8, 24) * 100, AttentionBatch.build([8], [8], [[0, 3]], BLOCK), kv, rope)
    torch.testing.assert_close(run(layer, x[2:], step, kv, rope), before, atol=0, rtol=0)


def test_gradients_flow_without_a_cache():
    layer = attention(5).requires_grad_(True)
    x = torch.randn(4, 24, requires_grad=True)
    run(layer, x, AttentionBatch.dense([4]), NoCache(), Rope(8, 10_000.0, 64)).sum().backward()
    assert x.grad.abs().sum() > 0
    assert layer.qkv.weight_OI.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("query", "context", "tables"),
    [([], [], []), ([0], [1], [[0]]), ([3], [2], [[0]]), ([1], [5], [[0]]), ([1], [1], [])],
)
def test_impossible_layouts_are_refused(query, context, tables):
    with pytest.raises(AssertionError):
        AttentionBatch.build(query, context, tables, BLOCK)


def test_last_rows_and_positions():
    batch = AttentionBatch.build([3, 1, 2], [3, 6, 4], [[0], [1, 2], [3]], BLOCK)
    assert batch.tokens == 6
    assert batch.last_S.tolist() == [2, 3, 5]
    assert batch.positions_T.tolist() == [0, 1, 2, 5, 2, 3]
    assert batch.views[EVERYTHING].slots_T.tolist() == [0, 1, 2, 9, 14, 15]
