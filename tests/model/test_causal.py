"""The kernels' attention over whole sequences, and its gradients, against torch's in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig
from model.native.causal import tiled_attention
from model.nn.causal import causal

CACHE = Path(ModelConfig.cache)


def gradients(attention, tensors, lengths, given_TNH, begun=None):
    tensors = [tensor.detach().requires_grad_(True) for tensor in tensors]
    mixed = attention(*tensors, lengths, begun or [0] * len(lengths))
    return [mixed.detach(), *torch.autograd.grad(mixed, tensors, given_TNH)]


def apart(found, wanted):
    return float((found.float() - wanted).norm() / wanted.norm())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=4),
    st.sampled_from([(3, 1), (4, 2), (2, 2)]),
    st.sampled_from([32, 64, 128]),
    st.integers(0, 1000),
)
def test_it_is_as_close_to_exact_attention_as_torchs_in_bfloat16(lengths, heads, width, seed):
    attention = tiled_attention(CACHE, width)
    if attention is None:
        pytest.skip("the processor has no tiles")
    torch.manual_seed(seed)
    rows = sum(lengths)
    tensors = [torch.randn(rows, count, width).bfloat16() for count in (heads[0], heads[1], heads[1])]
    given_TNH = torch.randn(rows, heads[0], width).bfloat16()
    exact = gradients(causal, [tensor.float() for tensor in tensors], lengths, given_TNH.float())
    ours, torchs = (gradients(each, tensors, lengths, given_TNH) for each in (attention, causal))
    for found, rounded, wanted in zip(ours, torchs, exact, strict=True):
        assert found.dtype == torch.bfloat16
        # A first token sees only itself: its scores have no gradient but what rounding leaves.
        assert apart(found, wanted) < 0.004 + 1.5 * apart(rounded, wanted) or float(wanted.norm()) < 1e-3


def test_sequences_do_not_see_each_other():
    attention = tiled_attention(CACHE, 64)
    if attention is None:
        pytest.skip("the processor has no tiles")
    torch.manual_seed(0)
    tensors = [torch.randn(90, heads, 64).bfloat16() for heads in (3, 1, 1)]
    given_TNH = torch.randn(90, 3, 64).bfloat16()
    both = gradients(attention, tensors, [40, 50], given_TNH)
    alone = gradients(attention, [tensor[40:] for tensor in tensors], [50], given_TNH[40:])
    for together, single in zip(both, alone, strict=True):
        torch.testing.assert_close(together[40:], single, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 50)), min_size=1, max_size=4), st.booleans())
def test_unwanted_queries_change_nothing_else(spans, tiled):
    attention = tiled_attention(CACHE, 64) if tiled else causal
    if attention is None:
        pytest.skip("the processor has no tiles")
    torch.manual_seed(len(spans))
    begun, lengths = [first for first, _ in spans], [first + more for first, more in spans]
    tensors = [torch.randn(sum(lengths), heads, 64).bfloat16() for heads in (4, 2, 2)]
    wanted = torch.cat([torch.arange(length) >= first for first, length in zip(begun, lengths, strict=True)])
    given_TNH = torch.randn(sum(lengths), 4, 64).bfloat16() * wanted[:, None, None]
    mixed, *grads = gradients(attention, tensors, lengths, given_TNH, begun)
    mixed_all, *grads_all = gradients(attention, tensors, lengths, given_TNH)
    assert mixed.isfinite().all()
    torch.testing.assert_close(mixed[wanted], mixed_all[wanted], rtol=2e-2, atol=2e-2)
    for found, whole in zip(grads, grads_all, strict=True):
        assert apart(found, whole.float()) < 0.02 or float(whole.float().norm()) < 1e-3


def test_widths_that_tiles_do_not_take_are_left_to_torch():
    assert tiled_attention(CACHE, 24) is None
