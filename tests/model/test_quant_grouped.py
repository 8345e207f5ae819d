"""Weights in groups with a scale each, and their rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from model.quant.grouped import GROUP, GroupedRows
from model.quant.int8 import Int8Rows


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), outputs=st.integers(1, 9), groups=st.integers(1, 4))
def test_int4_rows_are_within_half_a_step(seed, outputs, groups):
    weight = torch.randn(outputs, groups * GROUP, generator=torch.Generator().manual_seed(seed))
    rows = GroupedRows.of(weight)
    step_OG1 = rows.scale_OG.float().unsqueeze(-1)
    error = (rows.dequantised() - weight).view(outputs, groups, GROUP).abs()
    assert (error <= 0.51 * step_OG1 + 2e-3).all()  # scale and minimum are rounded themselves
    again = GroupedRows.of(rows.dequantised())
    torch.testing.assert_close(again.dequantised(), rows.dequantised(), atol=4e-3, rtol=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), bits=st.sampled_from([4, 5, 6, 8]), outputs=st.integers(1, 9))
def test_symmetric_rows_are_within_a_step_and_keep_zero(seed, bits, outputs):
    weight = torch.randn(outputs, 2 * GROUP, generator=torch.Generator().manual_seed(seed))
    weight[:, 5] = 0
    rows = GroupedRows.symmetric(weight, bits)
    error = (rows.dequantised() - weight).view(outputs, 2, GROUP).abs()
    assert (error <= 1.01 * rows.scale_OG.float().abs().unsqueeze(-1)).all()
    assert (rows.dequantised()[:, 5] == 0).all()


@given(data=st.data())
def test_rows_of_several_formats_are_joined_exactly(data):
    formats = st.tuples(st.sampled_from([4, 5, 6, 8]), st.booleans())
    parts = []
    for seed, (bits, symmetric) in enumerate(data.draw(st.lists(formats, min_size=1, max_size=4))):
        weight = torch.randn(2, 64, generator=torch.Generator().manual_seed(seed))
        parts.append((GroupedRows.symmetric if symmetric else GroupedRows.of)(weight, bits))
    joined = GroupedRows.cat(parts)
    assert torch.equal(joined.dequantised(), torch.cat([part.dequantised() for part in parts]))


@pytest.mark.parametrize("kind", [GroupedRows, Int8Rows])
def test_rows_can_be_reordered_and_padded(kind):
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    rows = kind.of(weight)
    turned = rows.rows(torch.tensor([3, 1, 1]))
    assert torch.equal(turned.dequantised(), rows.dequantised()[[3, 1, 1]])
    padded = rows.padded(2, 32).dequantised()
    assert torch.equal(padded, functional.pad(rows.dequantised(), (0, 32, 0, 2)))


def test_constant_groups_survive_int4():
    weight = torch.full((2, 64), 0.5)
    weight[1] = 0
    assert torch.equal(GroupedRows.of(weight).dequantised(), weight)
