"""Our engine at the peers' tasks, on the tiny model: counts and texts, no times."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

from bench.engine.models import TinyModels, matrix_bytes
from bench.engine.subject import Subject
from bench.engine.workload import as_tasks, call_requests, copied, wikitext
from bench.errors import BenchError
from bench.perplexity import score
from model.config import ModelConfig
from model.engine.local import local_runner
from model.nn.attention import AttentionBatch, NoCache
from model.weights.loaded import LoadedModel
from model.weights.tiny import embedded_tokenizer


@cache
def loaded() -> LoadedModel:
    torch.set_num_threads(1)
    return TinyModels().dense("float32")


def test_decoding_counts_what_comes_after_every_stream_has_begun() -> None:
    answer = Subject(loaded(), slots=4).ask(
        {"task": "decode", "streams": 3, "prompt_tokens": 10, "new_tokens": 5, "seed": 1}
    )
    assert answer["tokens"] == 3 * 4
    assert answer["seconds"] > 0


def test_an_end_token_does_not_end_a_measurement() -> None:
    subject = Subject(loaded(), slots=1)
    subject.engine.vocabulary.ends = frozenset(range(subject.engine.vocabulary.size))  # whatever comes is an end
    answer = subject.decode(streams=1, prompt_tokens=10, new_tokens=6, seed=0)
    assert answer["tokens"] == 5


def test_what_a_prompt_begins_with_is_computed_once() -> None:
    subject = Subject(loaded(), slots=1)
    assert subject.warm_prefix(first=160, added=20, seed=0)["cached"] == 160
    assert subject.warm_prefix(first=160, added=20, seed=1)["cached"] == 160
    assert subject.warm_prefix(first=160, added=20, seed=1)["cached"] == 176  # what must be left is one token


def test_tool_calls_are_the_servers_own_and_end_by_themselves() -> None:
    subject = Subject(loaded(), slots=4)
    requests = call_requests(loaded().name, 4, turn=0)
    answer = subject.calls(requests)
    assert len(answer["texts"]) == 4
    names = {tool.function.name for tool in requests[0].tools or []}
    for text in answer["texts"]:
        if text.endswith("</tool_call>"):  # a random model may run into its limit
            [call] = json.loads(text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
            assert call["name"] in names
    assert answer["steps"] < answer["tokens"]


def test_peers_get_the_same_prompts_and_the_tools_as_a_schema() -> None:
    subject = Subject(loaded(), slots=1)
    first, second = (call_requests("m", 2, turn) for turn in (0, 1))
    tasks = as_tasks(first, subject.engine.vocabulary, 2048)
    others = as_tasks(second, subject.engine.vocabulary, 2048)
    assert tasks[0]["prompt"] != tasks[1]["prompt"]
    assert [task["prompt"] for task in tasks] != [task["prompt"] for task in others]
    assert tasks[0]["schema"]["items"]["anyOf"][0]["properties"]["name"]["const"]


def test_copied_text_repeats() -> None:
    tokens = copied(embedded_tokenizer(), 0)
    text = embedded_tokenizer().decode(tokens)
    assert text.count(text.splitlines()[0]) == 3


def test_perplexity_is_that_of_the_whole_window_at_once() -> None:
    tokens = [(7919 * n) % 40_000 for n in range(70)]
    found = score(
        local_runner(loaded(), ModelConfig(kv_blocks=3, max_context=48)), tokens, block_size=16, context=32, chunk=12
    )
    expected = 0.0
    for begin in (0, 32):
        window = torch.tensor(tokens[begin : begin + 32])
        batch = AttentionBatch.dense([32])
        with torch.inference_mode():
            hidden = loaded().decoder(window, batch.positions_T, NoCache(), batch)
            logits = loaded().decoder.logits(hidden[:-1])
        expected += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
    assert found.count == 62
    assert found.nll == pytest.approx(expected, rel=1e-5)


def test_missing_text_is_said(tmp_path) -> None:
    with pytest.raises(BenchError, match="--data"):
        wikitext(tmp_path, embedded_tokenizer())
    (tmp_path / "wikitext-2").mkdir()
    (tmp_path / "wikitext-2" / "test.txt").write_text(" = Title = \n")
    assert embedded_tokenizer().decode(wikitext(tmp_path, embedded_tokenizer())) == " = Title = \n"


def test_matrices_are_counted_as_they_are_kept() -> None:
    wide, narrow = (matrix_bytes(TinyModels().dense(dtype)) for dtype in ("float32", "bfloat16"))
    layer = 32 * (2 * 4 + 2 * 2) * 8 + 3 * 32 * 48  # attention and feed-forward of TINY
    assert wide == 4 * (49_152 * 32 + 2 * layer)
    assert narrow == wide / 2


def test_subjects_that_take_turns_keep_their_threads() -> None:
    one, two = (Subject(loaded(), slots=1, threads=threads) for threads in (1, 2))
    try:
        for subject, threads in ((one, 1), (two, 2), (one, 1)):
            subject.ask({"task": "prefill", "tokens": 4, "seed": 0})
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
