"""The engine on the kernels: answers are the same, bit for bit, in any company."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.engine.request import EngineRequest, SamplingParams
from model.native.runner import NativeRunner
from model.native.support import machine_obstacle
from model.nn.shape import DecoderConfig
from model.quant.quantise import quantise
from model.weights.form import Form
from model.weights.loaded import LoadedModel
from model.weights.tiny import embedded_tokenizer, random_decoder
from observability.metrics import Metrics

pytestmark = pytest.mark.skipif(machine_obstacle() is not None, reason=str(machine_obstacle()))

SHAPE = DecoderConfig(
    vocab=49_152, layers=2, width=32, heads=2, kv_heads=1, head_width=32, shared_width=64, experts=4, expert_width=8,
    active=2, max_positions=256,
)  # fmt: skip
WINDOWED = replace(SHAPE, windows=(0, 20), sinks=4)
CONFIG = ModelConfig(slots=3, block_size=16, kv_blocks=8, max_context=96, step_tokens=16)


@cache
def loaded(shape):
    decoder = quantise(random_decoder(shape, 5), "int4", native=True)
    return LoadedModel.of(decoder, embedded_tokenizer(), "tiny", Form("int4", kernels=True))


@cache
def engine(shape, config):
    made = Engine(loaded(shape), config, ManualStop(), Metrics())
    assert isinstance(made._runner, NativeRunner)
    return made


def request(name, prompt, most, priority="interactive"):
    sampling = SamplingParams(max_tokens=most, temperature=0, ignore_end=True)
    return EngineRequest(name, tuple(prompt), sampling, priority=priority)


@cache
def alone(shape, prompt, most):
    """By itself, with room for everything and without guesses."""
    return answers(
        engine(shape, replace(CONFIG, draft_tokens=0, kv_blocks=16, step_tokens=96)), [(0, request("a", prompt, most))]
    )["a"]


def answers(made, arrivals, cancelled=()):
    """Tokens of each request; ``arrivals`` are (step, request), ``cancelled`` (step, name)."""
    found, arrivals, step = {}, list(arrivals), 0
    while arrivals or made.has_work:
        for each in [each for each in arrivals if each[0] <= step]:
            arrivals.remove(each)
            made.add(each[1])
        for when, name in cancelled:
            if when == step:
                made.cancel(name)
        for output in made.step():
            assert output.error is None
            found.setdefault(output.request_id, []).extend(token.token for token in output.tokens)
        made.check_integrity()
        step += 1
    return found


WORDS = st.lists(st.integers(300, 305), min_size=1, max_size=40).map(tuple)  # few, so that prefixes and drafts occur
ASKED = st.tuples(WORDS, st.integers(1, 30), st.sampled_from(["operator", "interactive", "batch"]), st.integers(0, 12))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from([SHAPE, WINDOWED]),
    asked=st.lists(ASKED, min_size=1, max_size=6),
    drafts=st.sampled_from([0, 6]),
    cancelled=st.sets(st.integers(0, 5), max_size=2),
)
def test_answers_do_not_depend_on_company(shape, asked, drafts, cancelled):
    made = engine(shape, replace(CONFIG, draft_tokens=drafts))
    arrivals = [
        (step, request(str(n), prompt, most, priority)) for n, (prompt, most, priority, step) in enumerate(asked)
    ]
    found = answers(made, arrivals, [(14, str(n)) for n in cancelled])
    for n, (prompt, most, _, _) in enumerate(asked):
        got, expected = found.get(str(n), []), alone(shape, prompt, most)
        assert got == (expected[: len(got)] if n in cancelled else expected)
