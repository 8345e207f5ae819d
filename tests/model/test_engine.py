from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flightloop.chat import ChatRequest, Priority, Tags
from flightloop.errors import ContextTooLong, Interrupted, InvalidRequest, Overloaded
from model.config import ModelConfig
from model.engine.engine import Engine
from model.engine.fakes import ManualStop
from model.engine.grammar import grammar_for
from model.engine.request import EngineOutput, EngineRequest, SamplingParams
from model.nn.attention import AttentionBatch, NoCache
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, tiny_model
from observability import catalog
from observability.metrics import Metrics

CONFIG = ModelConfig(slots=3, block_size=4, kv_blocks=20, max_context=64)
GREEDY = SamplingParams(max_tokens=12, temperature=0)


@cache
def loaded() -> LoadedModel:
    torch.set_num_threads(1)
    return tiny_model(shape=replace(TINY, tied=False))  # a tied one repeats its last token


def engine(
    config: ModelConfig = CONFIG, stop: ManualStop | None = None, step_tokens: int = 16, queue: int = 64
) -> Engine:
    return Engine(loaded(), replace(config, step_tokens=step_tokens, queue=queue), stop or ManualStop(), Metrics())


def prompt(seed: int, size: int) -> tuple[int, ...]:
    return tuple((seed * 7919 + n * n * 31) % 40_000 + 100 for n in range(size))


@cache
def reference(prompt: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Greedy tokens by the obvious loop: everything is computed again for each token, nothing is cached."""
    model, tokens = loaded(), list(prompt)
    ends = engine().vocabulary.ends
    with torch.inference_mode():
        for _ in range(count):
            batch = AttentionBatch.dense([len(tokens)])
            hidden = model.decoder(torch.tensor(tokens), batch.positions_T, NoCache(), batch)
            tokens.append(int(model.decoder.logits(hidden[-1:]).argmax()))
            if tokens[-1] in ends:
                break
    return tuple(tokens[len(prompt) :])


def drain(subject: Engine) -> dict[str, list[EngineOutput]]:
    outputs: dict[str, list[EngineOutput]] = {}
    while subject.has_work:
        for output in subject.step():
            outputs.setdefault(output.request_id, []).append(output)
        subject.check_integrity()
    return outputs


def tokens_of(outputs: list[EngineOutput]) -> tuple[int, ...]:
    return tuple(token.token for output in outputs for token in output.tokens)


def run(request: EngineRequest, config: ModelConfig = CONFIG) -> list[EngineOutput]:
    subject = engine(config)
    subject.add(request)
    return drain(subject)[request.id]


def json_request(schema: dict[str, Any]) -> ChatRequest:
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    return ChatRequest(model="m", messages=[{"role": "user", "content": "x"}], response_format=form)


class AgainstReference(RuleBasedStateMachine):
    """Whatever comes, goes and is preempted: every finished request has the reference's greedy tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engine()
        self.requests: dict[str, EngineRequest] = {}
        self.got: dict[str, list[int]] = {}

    @rule(
        seed=st.integers(0, 2),
        size=st.integers(1, 40),
        count=st.integers(1, 12),
        priority=st.sampled_from(["operator", "interactive", "batch"]),
    )
    def add(self, seed: int, size: int, count: int, priority: Priority) -> None:
        request = EngineRequest(
            str(len(self.got)), prompt(seed, size), SamplingParams(count, temperature=0), priority=priority
        )
        self.engine.add(request)
        self.requests[request.id], self.got[request.id] = request, []

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.requests:
            chosen = data.draw(st.sampled_from(sorted(self.requests)))
            self.engine.cancel(chosen)
            del self.requests[chosen]

    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        for _ in range(count):
            for output in self.engine.step():
                assert output.request_id in self.requests, "nothing comes after a cancellation"
                self.got[output.request_id] += tokens_of([output])
                if output.last:
                    self.compare(self.requests.pop(output.request_id))

    def compare(self, request: EngineRequest) -> None:
        expected = reference(request.prompt, request.sampling.max_tokens)
        assert tuple(self.got[request.id]) == tuple(t for t in expected if t not in self.engine.vocabulary.ends)

    @invariant()
    def integrity(self) -> None:
        self.engine.check_integrity()

    def teardown(self) -> None:
        while self.engine.has_work:
            self.step(1)
        load = self.engine.load()
        assert (load.running, load.waiting, load.kv_used_ratio) == (0, 0, 0)


AgainstReference.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAgainstReference = AgainstReference.TestCase


def test_preemption_happens_and_changes_nothing() -> None:
    subject = engine(replace(CONFIG, kv_blocks=16))
    for seed in range(3):
        subject.add(EngineRequest(str(seed), prompt(seed, 15), replace(GREEDY, max_tokens=20)))
    outputs = drain(subject)
    assert subject._scheduler.preemptions > 0
    for seed in range(3):
        assert tokens_of(outputs[str(seed)]) == reference(prompt(seed, 15), 20)


@pytest.mark.parametrize("constrained", [False, True])
def test_a_seed_gives_the_same_tokens_in_any_company(constrained: bool) -> None:
    grammar = grammar_for(json_request({"type": "array", "items": {"type": "string"}, "minItems": 2}))
    # Random weights give all tokens nearly the same chance: at a higher temperature the last bit of a product decides.
    sampling = SamplingParams(max_tokens=12, temperature=0.2, top_p=0.9, seed=5)
    request = EngineRequest("a", prompt(1, 9), sampling, grammar=grammar if constrained else None)
    alone = tokens_of(run(request))
    assert len(set(alone)) > 3
    subject = engine(replace(CONFIG, kv_blocks=16))
    for index in range(4):
        subject.add(
            replace(request, id=f"other{index}", prompt=prompt(index, 13), sampling=replace(sampling, seed=index))
        )
    subject.add(request)
    assert tokens_of(drain(subject)["a"]) == alone
    assert subject._scheduler.preemptions > 0
    assert tokens_of(run(replace(request, sampling=replace(sampling, seed=6)))) != alone


def test_cancelling_frees_blocks_at_once() -> None:
    subject = engine()
    subject.add(EngineRequest("a", prompt(0, 20), GREEDY))
    subject.step()
    subject.step()
    assert subject.load().kv_used_ratio > 0
    subject.cancel("a")
    assert subject.load().kv_used_ratio == 0
    assert not subject.has_work
    subject.cancel("a")  # twice is once


def test_a_stop_ends_what_it_matches_between_two_tokens() -> None:
    stop = ManualStop()
    subject = engine(stop=stop)
    for name in ("a", "b"):
        subject.add(EngineRequest(name, prompt(0, 5), GREEDY, tags=Tags(session_id=name)))
    subject.step()
    stop.pull("a")
    outputs = {output.request_id: output for output in subject.step()}
    assert outputs["a"].interrupted
    assert outputs["a"].finish == "stop"
    assert not outputs["a"].tokens
    assert outputs["a"].summary is not None
    assert outputs["a"].summary.completion_tokens == 1
    assert tokens_of([outputs["b"]])
    with pytest.raises(Interrupted):
        subject.add(EngineRequest("c", prompt(0, 5), GREEDY, tags=Tags(session_id="a")))


def test_a_cleared_stop_still_ends_what_was_admitted_before() -> None:
    stop = ManualStop()
    subject = engine(stop=stop)
    subject.add(EngineRequest("old", prompt(0, 5), GREEDY, epoch=0))
    stop.pull()
    stop.clear()
    subject.add(EngineRequest("new", prompt(0, 5), GREEDY))
    outputs = {output.request_id: output for output in subject.step()}
    assert outputs["old"].interrupted
    assert not outputs["new"].interrupted


def test_the_stop_is_polled_once_a_step() -> None:
    stop = ManualStop()
    subject = engine(stop=stop)
    for name in "ab":
        subject.add(EngineRequest(name, prompt(0, 5), GREEDY))
    before = stop.polls
    subject.step()
    assert stop.polls == before + 1


def test_what_cannot_be_served_is_refused() -> None:
    subject = engine(queue=1)
    with pytest.raises(ContextTooLong, match="maximum context length is 64 tokens, but the conversation has 64"):
        subject.add(EngineRequest("a", prompt(0, 64), GREEDY))
    with pytest.raises(InvalidRequest, match="empty"):
        subject.add(EngineRequest("a", (), GREEDY))
    subject.add(EngineRequest("a", prompt(0, 4), GREEDY))
    with pytest.raises(Overloaded, match="1 requests are waiting; the limit is 1") as caught:
        subject.add(EngineRequest("b", prompt(0, 4), GREEDY))
    assert caught.value.retry_after is not None
    subject.add(EngineRequest("c", prompt(0, 4), GREEDY, priority="operator"))  # ahead of that queue


def test_the_wait_told_follows_the_time_that_requests_take() -> None:
    now = [0.0]
    subject = Engine(loaded(), replace(CONFIG, slots=1, queue=2), ManualStop(), Metrics(), clock=lambda: now[0])

    def told() -> float:
        for name in ("running", "x", "y"):
            subject.add(EngineRequest(name, prompt(0, 4), replace(GREEDY, max_tokens=2)))
            if name == "running":
                subject.step()
        with pytest.raises(Overloaded) as caught:
            subject.add(EngineRequest("z", prompt(0, 4), GREEDY))
        while subject.has_work:
            now[0] += 10.0
            subject.step()
        assert caught.value.retry_after is not None
        return caught.value.retry_after

    first = told()
    for _ in range(12):
        last = told()
    assert first < last
    assert last == pytest.approx(2 * 10.0, rel=0.5), "two before it, each took one to two steps of ten seconds"


def test_the_queue_is_counted_by_priority() -> None:
    subject = engine(replace(CONFIG, slots=1), queue=2)
    subject.add(EngineRequest("running", prompt(0, 4), GREEDY, priority="operator"))
    subject.step()
    order: list[Priority] = ["batch", "interactive", "operator", "operator"]
    for index, priority in enumerate(order):
        subject.add(EngineRequest(str(index), prompt(0, 4), GREEDY, priority=priority))
    for priority, message in (("batch", "4 requests"), ("interactive", "3 requests"), ("operator", "2 requests")):
        with pytest.raises(Overloaded, match=message):
            subject.add(EngineRequest("late", prompt(0, 4), GREEDY, priority=priority))  # type: ignore[arg-type]


def test_an_operator_runs_in_the_next_step_and_whom_it_replaced_loses_nothing() -> None:
    subject = engine()
    for index in range(3):
        subject.add(EngineRequest(f"batch{index}", prompt(index, 9), GREEDY, priority="batch"))
    for _ in range(4):
        subject.step()
    subject.add(EngineRequest("interactive", prompt(0, 5), GREEDY))
    subject.add(EngineRequest("operator", prompt(1, 5), GREEDY, priority="operator"))
    got = subject.step()
    assert {"operator", "interactive"} <= {output.request_id for output in got}
    assert subject.load().waiting == 2
    rest = drain(subject)
    for index in range(2):
        request = EngineRequest("a", prompt(index, 9), GREEDY)
        alone = run(request)
        assert rest[f"batch{index}"][-1].summary is not None
        assert rest[f"batch{index}"][-1].finish == alone[-1].finish
        assert tokens_of(alone)[-len(tokens_of(rest[f"batch{index}"])) :] == tokens_of(rest[f"batch{index}"])


def test_what_a_cancelled_request_held_serves_the_next_step() -> None:
    subject = engine(replace(CONFIG, kv_blocks=16))
    subject.add(EngineRequest("big", prompt(0, 56), GREEDY))
    while not subject.step():
        pass
    subject.add(EngineRequest("next", prompt(1, 50), GREEDY))
    subject.step()
    assert subject.load().waiting == 1, "no room for both"
    subject.cancel("big")
    assert subject.load().kv_used_ratio == 0
    assert all(output.request_id == "next" for output in subject.step())
    assert (subject.load().running, subject.load().waiting) == (1, 0)


def test_the_context_ends_an_answer() -> None:
    output = run(EngineRequest("a", prompt(0, 60), replace(GREEDY, max_tokens=50)))
    assert output[-1].finish == "length"
    assert output[-1].summary is not None
    assert output[-1].summary.completion_tokens == 4


def test_a_stop_text_ends_the_answer_before_it() -> None:
    free = run(EngineRequest("a", prompt(2, 9), GREEDY))
    whole = "".join(output.text for output in free)
    assert len(whole) > 12
    stop = whole[5:9]
    cut = run(EngineRequest("a", prompt(2, 9), replace(GREEDY, stop=("never\0", stop))))
    assert "".join(output.text for output in cut) == whole[: whole.index(stop)]
    assert cut[-1].finish == "stop"
    assert len(tokens_of(cut)) < len(tokens_of(free))


def test_a_frequency_penalty_breaks_a_circle_whatever_is_guessed() -> None:
    """A tied model repeats its last token; guesses of it would all come true."""
    subject = Engine(tiny_model(), replace(CONFIG, step_tokens=16), ManualStop(), Metrics())
    for name, penalty in (("plain", 0.0), ("penalised", 2.0)):
        sampling = replace(GREEDY, max_tokens=20, frequency_penalty=penalty, ignore_end=True)
        subject.add(EngineRequest(name, prompt(1, 6), sampling))
    told = {name: tokens_of(outputs) for name, outputs in drain(subject).items()}
    most = {name: max(map(tokens.count, tokens)) for name, tokens in told.items()}
    assert most["plain"] > 10
    assert most["penalised"] < most["plain"]


def test_figures_are_booked() -> None:
    metrics = Metrics()
    fresh = tiny_model(shape=replace(TINY, tied=False))
    subject = Engine(fresh, CONFIG, ManualStop(), metrics)
    for name in ("a", "b"):
        subject.add(EngineRequest(name, prompt(0, 20), GREEDY))
        drain(subject)
    scalars, model = metrics.snapshot().series.scalars, loaded().name
    assert scalars[catalog.MODEL_TOKENS.name, (model, "prompt")] == 40
    assert scalars[catalog.MODEL_TOKENS.name, (model, "cached")] == 16
    assert scalars[catalog.MODEL_TOKENS.name, (model, "completion")] == 24
    assert scalars[catalog.MODEL_REQUESTS.name, (model, "length")] == 2
    assert scalars[catalog.MODEL_KV_USED_RATIO.name, (model,)] == 0
    routed = sum(scalars[catalog.MODEL_EXPERT_TOKENS.name, (model, str(each))] for each in range(TINY.experts))
    assert routed == (20 + 4 + 2 * 11) * TINY.layers * TINY.active  # an answer's last token is never computed


def test_the_load_is_recorded_at_its_ends_and_now_and_then_between() -> None:
    now, metrics = [100.0], Metrics()
    subject = Engine(loaded(), CONFIG, ManualStop(), metrics, clock=lambda: now[0])

    def running() -> float:
        return metrics.snapshot().series.scalars[catalog.MODEL_RUNNING.name, (loaded().name,)]

    subject.add(EngineRequest("a", prompt(0, 5), GREEDY))
    subject.step()
    subject.add(EngineRequest("b", prompt(1, 5), GREEDY))
    subject.step()
    assert running() == 1
    now[0] += 1.0
    subject.step()
    assert running() == 2
    while subject.has_work:
        subject.step()
    assert running() == 0
