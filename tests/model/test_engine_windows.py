"""The engine over a model with windowed layers: bounded blocks, and the tokens of the whole-sequence reference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.errors import ContextTooLong
from model.config import ModelConfig
from model.engine.block_groups import window_blocks
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.engine.request import EngineRequest, SamplingParams
from model.nn.attention import NoCache
from model.nn.windows import windowed
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, tiny_model
from observability.metrics import Metrics

CONFIG = ModelConfig(slots=3, block_size=4, kv_blocks=20, max_context=64, step_tokens=16, draft_tokens=8)
SHAPES = {
    "mixed": {"windows": (6, 0)},
    "all": {"windows": (6, 9)},
    "last": {"windows": (0, 3)},
    "heads": {"windows": (6, 3), "global_heads": ((1,), ())},
}


@cache
def loaded(kind: str) -> LoadedModel:
    torch.set_num_threads(1)
    return tiny_model(shape=replace(TINY, tied=False, sinks=3, **SHAPES[kind]))


def prompt(seed: int, size: int) -> tuple[int, ...]:
    return tuple((seed * 7919 + n * n * 31) % 40_000 + 100 for n in range(size))


@cache
def reference(kind: str, prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Greedy tokens by the obvious loop: everything is computed again for each token, nothing is cached."""
    decoder, tokens = loaded(kind).decoder, list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            batch = decoder.dense_layout([len(tokens)])
            hidden = decoder(torch.tensor(tokens), batch.positions_T, NoCache(), batch)
            tokens.append(int(decoder.logits(hidden[-1:]).argmax()))
    return tuple(tokens[len(prompt) :])


@pytest.mark.parametrize("kind", SHAPES)
@settings(max_examples=12, deadline=None)
@given(
    requests=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 50), st.integers(1, 12)), min_size=1, max_size=6),
    apart=st.integers(0, 4),
)
def test_tokens_are_the_references_whatever_is_reused_chunked_or_preempted(kind, requests, apart) -> None:
    model = loaded(kind)
    subject = Engine(model, CONFIG, ManualStop(), Metrics())
    ends = subject.vocabulary.ends
    got: dict[str, list[int]] = {}
    waiting = list(enumerate(requests))
    while waiting or subject.has_work:
        if waiting:
            number, (seed, size, count) = waiting.pop(0)
            got[str(number)] = []
            subject.add(EngineRequest(str(number), prompt(seed, size), SamplingParams(count, temperature=0)))
        for _ in range(apart + 1):
            for output in subject.step():
                got[output.request_id] += [token.token for token in output.tokens]
            subject.check_integrity()
    for number, (seed, size, count) in enumerate(requests):
        expected = reference(kind, prompt(seed, size), count)
        end = next((place for place, token in enumerate(expected) if token in ends), count)
        assert tuple(got[str(number)]) == expected[:end]


def test_past_the_models_own_context_a_windowed_model_goes_on_and_another_refuses() -> None:
    own = replace(TINY, tied=False, max_positions=24)
    config = replace(CONFIG, attention_window=6, global_layers=(1,))
    request = EngineRequest("long", prompt(0, 50), SamplingParams(8, temperature=0, ignore_end=True))
    subject = Engine(tiny_model(shape=windowed(own, config)), config, ManualStop(), Metrics())
    subject.add(request)
    tokens = [token for _ in range(40) for output in subject.step() for token in output.tokens]
    assert len(tokens) == 8
    with pytest.raises(ContextTooLong, match="context length is 24"):
        Engine(tiny_model(shape=own), CONFIG, ManualStop(), Metrics()).add(request)


def test_blocks_of_windowed_layers_do_not_grow_with_the_context() -> None:
    shape = loaded("mixed").config
    short, long = (
        window_blocks(shape, replace(CONFIG, kv_blocks="auto", max_context=context)) for context in (64, 32_768)
    )
    assert long <= 2 * short
    assert window_blocks(replace(shape, windows=()), CONFIG) == 0
