"""Eight-bit products against exact ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.nn.attention import AttentionBatch, NoCache
from model.nn.linear import Linear
from model.quant.int8 import SMALL_ROWS, Int8Linear, Int8Rows, quantise_rows
from model.quant.quantise import int8_layers, quantise
from model.weights.tiny import TINY, random_decoder


def some(tokens, inputs, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    return weight, torch.randn(tokens, inputs, generator=generator).bfloat16()


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(0, 2 * SMALL_ROWS),
    inputs=st.sampled_from([16, 32, 48, 64, 112]),
    outputs=st.integers(1, 70),
    seed=st.integers(0, 1000),
)
def test_error_is_half_a_step_of_the_weights_and_bfloat16(tokens, inputs, outputs, seed):
    weight, x = some(tokens, inputs, outputs, seed)
    exact, got = x.double() @ weight.double().T, Int8Linear(Int8Rows.of(weight))(x).double()
    half_step = weight.double().abs().amax(-1) / 254 * x.double().abs().sum(-1, keepdim=True)
    rounding = 2**-7 * (x.double().abs() @ weight.double().abs().T)  # of the scale, of the sum, of the result
    assert ((exact - got).abs() <= half_step + rounding).all()


def test_rows_quantise_symmetrically_and_zeros_stay_zero():
    rows, scale = quantise_rows(torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]))
    assert rows.tolist() == [[64, -127, 32], [0, 0, 0]]
    assert scale[0] == pytest.approx(2 / 127)
    assert scale[1] > 0
    assert (Int8Linear(Int8Rows.of(torch.zeros(3, 16)))(torch.zeros(2, 16).bfloat16()) == 0).all()


def test_shapes_that_the_kernel_cannot_take_are_refused():
    with pytest.raises(AssertionError, match="multiple of 16"):
        Int8Linear(Int8Rows.of(torch.zeros(8, 24)))


def test_small_and_large_batches_agree():
    weight, x = some(SMALL_ROWS + 1, 64, 48, 0)
    layer = Int8Linear(Int8Rows.of(weight))
    large, small = layer(x)[:-1].float(), layer(x[:-1]).float()
    torch.testing.assert_close(large, small, atol=2e-2 * float(small.std()), rtol=1e-2)


def test_tied_head_shares_the_embedding():
    decoder = quantise(random_decoder(TINY, 1), "int8")
    assert decoder.head.wide_OI.data_ptr() == decoder.embedding.weight_VD.data_ptr()


def test_quantise_replaces_every_product_and_drifts_little():
    batch = AttentionBatch.dense([12])
    tokens = torch.arange(100, 112)
    exact = random_decoder(TINY, 1)
    coarse = quantise(random_decoder(TINY, 1), "int8")
    assert coarse.dtype is torch.bfloat16
    assert int8_layers(coarse) == 4 * TINY.layers + 1
    assert not any(isinstance(module, Linear) for module in coarse.modules())
    a, b = (m.logits(m(tokens, batch.positions_T, NoCache(), batch)) for m in (exact, coarse))
    assert 0 < (a - b).std() / a.std() < 0.1


@pytest.mark.parametrize(("format", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_float_formats_convert_and_keep_the_rotary_table(format, dtype):
    decoder = quantise(random_decoder(TINY, 1), format)
    assert decoder.dtype is dtype
    assert decoder.rope.cos_XH.dtype is torch.float32
    assert int8_layers(decoder) == 0
