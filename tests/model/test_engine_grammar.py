"""Answers in a grammar: what it dictates is not decoded token by token."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from model.engine.grammar import grammar_for
from model.engine.request import EngineRequest, SamplingParams
from tests.model.test_engine import CONFIG, GREEDY, json_request, prompt, run

PLAN = {
    "type": "object",
    "properties": {"goal": {"enum": ["find", "cancel"]}, "steps": {"type": "array", "items": {"type": "boolean"}}},
    "required": ["goal", "steps"],
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_grammar_dictates_is_not_decoded_one_by_one(temperature: float) -> None:
    grammar = grammar_for(json_request(PLAN))
    config = replace(CONFIG, max_context=128, kv_blocks=40)
    quick, slow = (
        run(
            EngineRequest(
                "a",
                prompt(1, 9),
                SamplingParams(max_tokens=60, temperature=temperature, seed=3, logprobs=logprobs),
                grammar=grammar,
            ),
            config,
        )
        for logprobs in (False, True)
    )
    text = "".join(output.text for output in quick)
    assert set(json.loads(text)) == {"goal", "steps"}
    assert text == "".join(output.text for output in slow)
    assert len(quick) < len(slow) / 2
    first, second = quick[-1].summary, slow[-1].summary
    assert first is not None
    assert second is not None
    assert first.completion_tokens == second.completion_tokens
    assert first.confidence == pytest.approx(second.confidence, rel=1e-3)


def test_a_grammar_that_dictates_everything_ends_by_itself() -> None:
    outputs = run(EngineRequest("a", prompt(1, 9), GREEDY, grammar=grammar_for(json_request({"const": "as it is"}))))
    assert "".join(output.text for output in outputs) == '"as it is"'
    assert outputs[-1].finish == "stop"
