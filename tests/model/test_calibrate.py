"""Keys are balanced by the sizes that a text shows, which the weights alone don't tell."""

import dataclasses
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, SequenceStep, StepBatch
from model.native.cache import QuantisedCache
from model.native.calibrate import key_sizes
from model.native.packed import PackedWeights
from model.native.runner import NativeRunner
from model.native.support import machine_obstacle
from model.nn.shape import DecoderConfig
from model.quant.quantise import quantise
from model.weights.form import Form
from model.weights.packed_cache import loaded_weights
from model.weights.tiny import random_decoder

pytestmark = pytest.mark.skipif(machine_obstacle() is not None, reason=str(machine_obstacle()))
KERNELS = Path(ModelConfig().cache).expanduser()
SHAPE = DecoderConfig(
    vocab=320, layers=2, width=64, heads=4, kv_heads=2, head_width=32, shared_width=64, max_positions=256, qkv_bias=True
)
TEXT = tuple(range(7, 135))


def made(shape=SHAPE):
    """A model in which one input is much larger than the weights suggest, and some numbers of the keys follow it."""
    decoder = random_decoder(shape, 3)
    decoder.embedding.weight_VD.data[:, 5] = 30.0
    first, last = shape.heads * shape.head_width, (shape.heads + shape.kv_heads) * shape.head_width
    for block in decoder.blocks:
        if block.attention.bias_Y is not None:
            block.attention.bias_Y.data.zero_()
        weight_OI = block.attention.qkv.weight_OI.data
        weight_OI[first:last, 5] = 0
        weight_OI[first + 3 : last : 16, 5] = 2.0
    return quantise(decoder, "int8", native=True)


def logits(runner):
    return runner.run(StepBatch((SequenceStep(TEXT, 0, tuple(range(8)), len(TEXT)),)))


def native(packed):
    return logits(NativeRunner(packed, QuantisedCache(packed.shape, 8, 16), 1, KERNELS))


def test_the_sizes_are_those_of_the_keys():
    shape = dataclasses.replace(SHAPE, layers=1)
    decoder = made(shape)
    packed = PackedWeights.of(decoder)
    kv = QuantisedCache(shape, 8, 16)
    logits(NativeRunner(packed, kv, 1, KERNELS))
    key_T2P = kv.keys_of(0, 8)[:, 1].view(len(TEXT), 2, 16)
    sizes_LKP = key_sizes(packed, TEXT, KERNELS)
    assert sizes_LKP.shape == (1, 2, 16)
    torch.testing.assert_close(sizes_LKP[0, 1], key_T2P.square().sum(1).sqrt().amax(0))


def test_keys_are_read_as_they_were_written():
    shape = dataclasses.replace(SHAPE, layers=1, qkv_bias=False)
    decoder = made(shape)
    kv, plain = QuantisedCache(shape, 8, 16), kv_cache(shape, torch.float32, 8, 16)
    logits(NativeRunner(PackedWeights.of(decoder), kv, 1, KERNELS))
    logits(LocalRunner(decoder, plain))
    expected, _ = plain.read(0, torch.arange(len(TEXT)))
    got = kv.keys_of(0, 8)
    assert got.shape == expected.shape
    assert ((got - expected).abs().amax(-1) <= 0.02 * expected.abs().amax(-1)).all()


def spread(packed):
    """The largest key's size over the smallest one's, in the layer and head where that is largest."""
    sizes_LKP = key_sizes(packed, TEXT, KERNELS)
    return float((sizes_LKP.amax(-1) / sizes_LKP.amin(-1)).max())


def test_balanced_by_measured_sizes_all_numbers_of_a_key_are_equally_large():
    decoder = made()
    packed = PackedWeights.of(decoder)
    measured = packed.balanced_by(decoder, key_sizes(packed, TEXT, KERNELS))
    assert spread(packed) > 4
    assert spread(measured) < 1.2
    assert packed.tensors.keys() == measured.tensors.keys()
    torch.testing.assert_close(native(measured), native(packed), atol=0.25 * float(native(packed).std()) * 4, rtol=0)


def test_a_model_with_biases_is_measured_when_it_is_loaded(tmp_path):
    config = ModelConfig(cache=str(KERNELS))
    decoder = made()

    def encode(text):
        return [ord(each) % 300 for each in text]

    loaded = loaded_weights(config, Form("int8", kernels=True), [tmp_path / "none"], SHAPE, made, encode)
    assert spread(loaded) < 0.5 * spread(PackedWeights.of(decoder))
