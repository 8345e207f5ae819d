"""Hidden states of the kernels against those of torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, SequenceStep, StepBatch
from model.native import kinds
from model.native.cache import QuantisedCache
from model.native.packed import PackedWeights
from model.native.runner import NativeRunner
from model.native.support import machine_obstacle
from model.nn.shape import DecoderConfig
from model.quant.quantise import quantise
from model.weights.tiny import random_decoder

pytestmark = pytest.mark.skipif(machine_obstacle() is not None, reason=str(machine_obstacle()))
CACHE = Path(ModelConfig().cache).expanduser()
DENSE = DecoderConfig(
    vocab=320, layers=3, width=64, heads=4, kv_heads=2, head_width=32, shared_width=80, max_positions=256
)
SHAPES = {"dense": DENSE, "mixture": replace(DENSE, experts=5, expert_width=24, active=2)}
TEXT = tuple(range(3, 78))
BLOCKS, BESIDE = tuple(range(5, 24)), (2,)


@pytest.mark.parametrize("kind", [kind.name for kind in kinds.available()])
@pytest.mark.parametrize("name", SHAPES)
def test_states_are_those_of_torch(name: str, kind: str) -> None:
    torch.set_num_threads(1)
    shape = SHAPES[name]
    packed = PackedWeights.of(quantise(random_decoder(shape, 3), "int8", native=True))
    ours = NativeRunner(packed, QuantisedCache(shape, 24, 16), 2, CACHE, kind)  # type: ignore[arg-type]
    theirs = LocalRunner(random_decoder(shape, 3), kv_cache(shape, torch.float32, 24, 16))
    layers = range(shape.layers)
    batches = [
        StepBatch((SequenceStep(TEXT[:60], 0, BLOCKS, 0), SequenceStep(TEXT[:8], 0, BESIDE, 0))),
        StepBatch((SequenceStep(TEXT[8:9], 8, BESIDE, 0), SequenceStep(TEXT[60:], 60, BLOCKS, 0))),
    ]
    for batch in batches:
        got, expected = ours.states(batch, layers), theirs.states(batch, layers)
        assert got.shape == expected.shape
        errors = (got - expected).pow(2).mean(-1).sqrt() / expected.std((1, 2)).unsqueeze(1)
        # Rounded weights may send a token to another expert: most rows have to agree, not all.
        assert errors[0].max() < 0.02
        assert errors.median(1).values.max() < 0.06
    # Alone and without the layers below in the result, the last token has the same states, bit for bit.
    last = ours.states(StepBatch((SequenceStep(TEXT[74:], 74, BLOCKS, 0),)), layers[-1:])
    assert torch.equal(last[0], got[-1, -1:])
    # The next step runs all layers again.
    scored = ours.run(StepBatch((SequenceStep(TEXT[74:], 74, BLOCKS, 1),)))
    assert scored.shape == (1, shape.vocab)
    assert scored.isfinite().all()
