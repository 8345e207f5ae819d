"""Drafts, batches, preemption and cancellation change nothing about an answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flightloop.chat import ChatRequest
from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ContextRunner, ManualStop
from model.engine.grammar import grammar_for
from model.engine.request import EngineOutput, EngineRequest, SampledToken, SamplingParams
from model.engine.vocabulary import Vocabulary
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, tiny_model
from observability import catalog
from observability.metrics import Metrics

CONFIG = ModelConfig(slots=3, block_size=4, kv_blocks=40, max_context=96, step_tokens=24, draft_tokens=12)
NAMES = ["find", "cancel", "refund"]
STEPS = {"type": "array", "items": {"enum": ["find order", "find out"]}, "minItems": 6}
PLAN = {
    "type": "object",
    "properties": {"goal": {"enum": NAMES}, "steps": STEPS},
    "required": ["goal", "steps"],
}
TOOL = {
    "type": "object",
    "properties": {"order": {"type": "string", "pattern": "^O-[0-9]{3}$"}, "why": {"type": "string", "maxLength": 20}},
    "required": ["order", "why"],
}


@cache
def loaded() -> LoadedModel:
    return tiny_model()


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary(loaded().tokenizer, TINY.vocab)


def chat(**options: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[{"role": "user", "content": "x"}], **options)


@cache
def grammars() -> tuple[str | None, ...]:
    tools = [{"type": "function", "function": {"name": name, "parameters": TOOL}} for name in NAMES]
    plan = {"type": "json_schema", "json_schema": {"name": "x", "schema": PLAN}}
    return (
        None,
        grammar_for(chat(response_format=plan)),
        grammar_for(chat(tools=tools)),
        grammar_for(chat(tools=tools, tool_choice="required")),
    )


def made(config: ModelConfig, metrics: Metrics | None = None) -> tuple[Engine, ContextRunner]:
    tokenizer = loaded().tokenizer
    favourites = [*tokenizer.encode("order O-123 is late find") * 4, tokenizer.eos_id]
    assert config.kv_blocks != "auto"
    runner = ContextRunner(TINY.vocab, config.kv_blocks, config.block_size, favourites)
    engine = Engine(loaded(), config, ManualStop(), metrics or Metrics(), runner=runner)
    engine.vocabulary = vocabulary()  # compiled grammars are kept from test to test
    return engine, runner


@dataclass
class Answer:
    """All that came out for one request."""

    tokens: list[SampledToken] = field(default_factory=list)
    text: str = ""
    last: EngineOutput | None = None
    steps: int = 0

    def add(self, output: EngineOutput) -> None:
        assert self.last is None, "nothing comes after the last output"
        self.tokens += output.tokens
        self.text += output.text
        self.steps += 1
        self.last = output if output.last else None

    @property
    def content(self) -> tuple[Any, ...]:
        """What must not depend on how it was computed."""
        assert self.last is not None
        summary = self.last.summary
        assert summary is not None
        figures = (summary.completion_tokens, summary.confidence, summary.mean_entropy, summary.max_entropy)
        return self.tokens, self.text, self.last.finish, self.last.error, figures


def answers(engine: Engine, *requests: EngineRequest) -> dict[str, Answer]:
    found = {request.id: Answer() for request in requests}
    for request in requests:
        engine.add(request)
    while engine.has_work:
        for output in engine.step():
            found[output.request_id].add(output)
        engine.check_integrity()
    return found


def reference(request: EngineRequest) -> Answer:
    """The request alone, one token a step, with room for everything."""
    return alone(request.prompt, request.sampling, request.grammar)


@cache
def alone(prompt: tuple[int, ...], sampling: SamplingParams, grammar: str | None) -> Answer:
    return answers(patient(), EngineRequest("a", prompt, sampling, grammar))["a"]


@cache
def patient() -> Engine:
    return made(replace(CONFIG, slots=1, kv_blocks=100, draft_tokens=0, step_tokens=128))[0]


def prompt(seed: int, size: int) -> tuple[int, ...]:
    words = loaded().tokenizer.encode("find order O-123, then cancel order O-123 and order O-124: it is late. ")
    return tuple(words[(seed + place) % len(words)] for place in range(size))


requests = st.builds(
    EngineRequest,
    id=st.just(""),
    prompt=st.builds(prompt, st.integers(0, 3), st.integers(1, 40)),
    sampling=st.builds(
        SamplingParams,
        max_tokens=st.integers(1, 50),
        temperature=st.sampled_from([0.0, 0.0, 0.0, 0.8]),
        seed=st.integers(0, 2),
        stop=st.sampled_from([(), (), ("te fi", "3 O")]),
        logprobs=st.booleans(),
        top_logprobs=st.sampled_from([0, 2]),
    ),
    grammar=st.integers(0, 3).map(lambda index: grammars()[index]),
    priority=st.sampled_from(["operator", "interactive", "batch"]),
)


class InAnyCompany(RuleBasedStateMachine):
    """Requests come, go and are preempted in a pool that is too small for them, with drafts."""

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.runner = made(replace(CONFIG, kv_blocks=26))
        self.open: dict[str, tuple[EngineRequest, Answer]] = {}
        self.arrivals = 0

    @rule(request=requests)
    def add(self, request: EngineRequest) -> None:
        self.arrivals += 1
        request = replace(request, id=str(self.arrivals))
        self.engine.add(request)
        self.open[request.id] = request, Answer()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.open:
            chosen = data.draw(st.sampled_from(sorted(self.open)))
            self.engine.cancel(chosen)
            del self.open[chosen]

    @rule(count=st.integers(1, 8))
    def step(self, count: int) -> None:
        for _ in range(count):
            for output in self.engine.step():
                request, answer = self.open[output.request_id]
                answer.add(output)
                if output.last:
                    del self.open[request.id]
                    expected = reference(request)
                    assert answer.content == expected.content

    @invariant()
    def integrity(self) -> None:
        self.engine.check_integrity()

    def teardown(self) -> None:
        while self.engine.has_work:
            self.step(1)
        assert not self.open
        load = self.engine.load()
        assert (load.running, load.waiting, load.kv_used_ratio) == (0, 0, 0)


InAnyCompany.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestInAnyCompany = InAnyCompany.TestCase


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("logprobs", [False, True])
def test_drafts_save_steps_and_change_nothing(kind: int, logprobs: bool) -> None:
    metrics = Metrics()
    engine, runner = made(CONFIG, metrics)
    steps = accepted = 0
    for seed in range(4):
        request = EngineRequest(
            "a", prompt(seed, 30), SamplingParams(60, temperature=0, logprobs=logprobs), grammar=grammars()[kind]
        )
        before = runner.steps
        found = answers(engine, request)["a"]
        assert found.content == reference(request).content
        steps += reference(request).steps - (runner.steps - before - 1)  # the prompt takes one step more
        assert found.last is not None
        assert found.last.summary is not None
        accepted += found.last.summary.accepted_tokens
    scalars, name = metrics.snapshot().series.scalars, loaded().name
    assert scalars[catalog.MODEL_DRAFT_TOKENS.name, (name, "accepted")] == accepted
    assert scalars[catalog.MODEL_DRAFT_TOKENS.name, (name, "drafted")] >= accepted
    assert accepted > 0
    assert steps > 0


def test_a_crowd_gets_no_drafts() -> None:
    for slots, drafted in ((12, False), (11, True)):
        config = replace(CONFIG, slots=slots, kv_blocks=400, step_tokens=512)
        engine, runner = made(config)
        for each in range(slots):
            engine.add(EngineRequest(str(each), prompt(each, 30), SamplingParams(60, temperature=0)))
        engine.step()
        rows = 0
        while engine.load().running == slots:
            before = runner.rows
            engine.step()
            rows = max(rows, runner.rows - before)
        assert rows == 12
        assert (rows > slots) == drafted


def test_no_drafts_where_they_are_turned_off() -> None:
    engine, runner = made(replace(CONFIG, draft_tokens=0))
    request = EngineRequest("a", prompt(0, 30), SamplingParams(60, temperature=0))
    found = answers(engine, request)["a"]
    assert found.last is not None
    assert found.last.summary is not None
    assert found.last.summary.drafted_tokens == 0
    assert runner.rows == 30 + found.last.summary.completion_tokens - 1
