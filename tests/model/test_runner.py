from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.engine.kv_cache import KVCache
from model.engine.runner import LocalRunner, SequenceStep, StepBatch
from model.nn.attention import NoCache
from model.weights.tiny import TINY, random_decoder

SHAPE = replace(TINY, vocab=300)


def runner() -> LocalRunner:
    torch.set_num_threads(1)
    cache = KVCache(SHAPE.layers, 16, 4, SHAPE.kv_heads, SHAPE.head_width, torch.float32)
    return LocalRunner(random_decoder(SHAPE, 0), cache)


def test_the_last_rows_are_scored_sequence_after_sequence() -> None:
    first, second, third = (5, 6, 7, 8, 9), (50, 51), (90, 91, 92)
    steps = (
        SequenceStep(first, 0, (0, 1), 3),
        SequenceStep(second, 0, (2,), 0),
        SequenceStep(third, 0, (3,), 1),
    )
    together = runner().run(StepBatch(steps))
    assert together.shape == (4, SHAPE.vocab)
    alone = [(first[:3], (0, 1)), (first[:4], (0, 1)), (first, (0, 1)), (third, (3,))]
    for row, (tokens, blocks) in zip(together, alone, strict=True):
        expected = runner().run(StepBatch((SequenceStep(tokens, 0, blocks, 1),)))
        torch.testing.assert_close(row, expected[0], rtol=1e-4, atol=1e-4)


def test_a_step_without_scored_rows_fills_the_cache_only() -> None:
    subject = runner()
    assert subject.run(StepBatch((SequenceStep((1, 2, 3), 0, (0, 1), 0),))).shape == (0, SHAPE.vocab)
    later = subject.run(StepBatch((SequenceStep((4, 5), 3, (0, 1), 1),)))
    whole = runner().run(StepBatch((SequenceStep((1, 2, 3, 4, 5), 0, (0, 1), 1),)))
    torch.testing.assert_close(later, whole, rtol=1e-4, atol=1e-4)


def test_states_are_what_enters_each_layer() -> None:
    subject, decoder = runner(), random_decoder(SHAPE, 0)
    seen: dict[int, torch.Tensor] = {}
    for layer, block in enumerate(decoder.blocks):
        block.register_forward_pre_hook(lambda _, given, layer=layer: seen.update({layer: given[0]}))
    tokens = torch.tensor([5, 6, 7, 8, 9])
    layout = decoder.dense_layout([5])
    decoder(tokens, layout.positions_T, NoCache(), layout)
    first = subject.states(StepBatch((SequenceStep((5, 6, 7), 0, (0, 1), 0),)), (0, 1))
    then = subject.states(StepBatch((SequenceStep((8, 9), 3, (0, 1), 0),)), (0, 1))
    states = torch.cat([first, then], 1)
    torch.testing.assert_close(states, torch.stack([seen[0], seen[1]]), rtol=1e-4, atol=1e-4)
    (only,) = runner().states(StepBatch((SequenceStep((5, 6, 7, 8, 9), 0, (0, 1), 0),)), (1,))
    torch.testing.assert_close(only, seen[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layers", [(), (1, 0), (0, 0), (-1,), (SHAPE.layers,)])
def test_layers_that_the_model_lacks_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascend from 0 to at most 1"):
        runner().states(StepBatch((SequenceStep((5,), 0, (0,), 0),)), layers)
