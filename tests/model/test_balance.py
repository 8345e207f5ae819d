"""Balanced keys: attention stays what it is, and rounding to eight bits costs less."""

from dataclasses import replace

import pytest
import torch

from model.native.balance import estimated_sizes, key_factors
from model.nn.attention import AttentionBatch, NoCache
from model.nn.shape import DecoderConfig
from model.quant.grouped import GroupedRows
from model.quant.int8 import Int8Rows
from model.weights.tiny import random_decoder

SHAPE = DecoderConfig(
    vocab=64, layers=2, width=64, heads=4, kv_heads=2, head_width=32, shared_width=64, max_positions=64, qkv_bias=True
)


def unlike(shape, size):
    """A decoder some of whose keys' numbers are ``size`` times as large as the others."""
    decoder = random_decoder(shape, 3)
    first, last = shape.heads * shape.head_width, (shape.heads + shape.kv_heads) * shape.head_width
    for layer, block in enumerate(decoder.blocks):
        bias_Y = block.attention.bias_Y.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(layer))
        bias_Y[first:last].view(shape.kv_heads, -1)[:, 3::16] += size
    return decoder


def factors(decoder, block):
    attention = block.attention
    weight_OI, norm_D = attention.qkv.weight_OI, block.attention_norm.weight_D
    return key_factors(decoder.config, estimated_sizes(decoder.config, weight_OI, attention.bias_Y, norm_D))


@torch.inference_mode()
def test_attention_stays_what_it_is():
    decoder = unlike(SHAPE, 20.0)
    ids = torch.randint(0, 64, (23,), generator=torch.Generator().manual_seed(1))
    batch = AttentionBatch.dense([len(ids)])
    before = decoder.logits(decoder(ids, batch.positions_T, NoCache(), batch))
    for block in decoder.blocks:
        factor_Y = factors(decoder, block)
        assert factor_Y.max() / factor_Y.min() > 10
        block.attention.qkv.weight_OI.data *= factor_Y.unsqueeze(1)
        block.attention.bias_Y.data *= factor_Y
    after = decoder.logits(decoder(ids, batch.positions_T, NoCache(), batch))
    torch.testing.assert_close(after, before, atol=2e-4, rtol=2e-4)


def rounded(key_TH):
    scale = key_TH.abs().amax(-1, keepdim=True) / 127
    return (key_TH / scale).round() * scale


@torch.inference_mode()
def test_rounding_costs_less():
    shape = replace(SHAPE, layers=1)
    decoder = unlike(shape, 60.0)
    block = decoder.blocks[0]
    x_TD = torch.randn(200, shape.width, generator=torch.Generator().manual_seed(2)) * block.attention_norm.weight_D
    errors = []
    for factor_Y in (torch.ones(len(block.attention.bias_Y)), factors(decoder, block)):
        y_TY = (x_TD @ block.attention.qkv.weight_OI.T + block.attention.bias_Y) * factor_Y
        query, key = y_TY[:, : shape.head_width], y_TY[:, 4 * shape.head_width : 5 * shape.head_width]
        errors.append((query @ (rounded(key) - key).T).std())
    assert errors[1] < 0.75 * errors[0]


@pytest.mark.parametrize("kind", [GroupedRows, Int8Rows])
def test_rows_can_be_scaled(kind):
    rows = kind.of(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)))
    factor_O = torch.tensor([0.5, 3.0, 1.0, 0.01])
    expected = rows.dequantised() * factor_O.unsqueeze(1)
    torch.testing.assert_close(rows.scaled(factor_O).dequantised(), expected, atol=1e-5, rtol=4e-3)
