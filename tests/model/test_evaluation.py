from __future__ import annotations

import copy
import json

import pytest
import torch

from flightloop.errors import ConfigError
from model.nn.attention import NoCache
from model.tuner.data.row import write_rows
from model.tuner.evaluation import HeldOut, read_held_out, score
from model.tuner.examples import Example
from model.tuner.objective import measure
from model.weights.tiny import tiny_model

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
RESULT = {"role": "tool", "content": '"rain"', "tool_call_id": "1"}
USER = {"role": "user", "content": "Is it raining?"}


def said(content, **fields):
    return {"role": "assistant", "content": content, **fields}


def called(*calls):
    return {"role": "assistant", "tool_calls": list(calls)}


ROWS = [
    {"tools": [TOOL], "messages": [USER, called(CALL), RESULT, said("Yes.")]},
    {"messages": [USER, said("No.", weight=0), USER, said("Perhaps.")]},
    {"tools": [TOOL], "messages": [USER, said("Where?")]},
    {"tools": [TOOL], "messages": [USER, called(CALL, {**CALL, "id": "2"})]},
    {"messages": [USER, said("{}")], "response_format": {"type": "json_object"}},
]


@pytest.fixture(scope="module")
def model():
    return tiny_model(3)


@pytest.fixture
def rows(tmp_path, model):
    write_rows(tmp_path / "rows.jsonl", copy.deepcopy(ROWS))
    return read_held_out(tmp_path / "rows.jsonl", model.chat, 500)[0]


def test_every_learned_answer_has_a_kind(rows):
    assert [row.kinds for row in rows] == [("call", "text"), ("text",), ("ask back",), ("several",), ("JSON",)]


def test_answers_add_up_to_the_loss_that_tuning_lowers(model, rows):
    heard = []
    scored = score(model.decoder, rows, heard.append)
    assert heard[-1] == len(rows)
    assert [(answer.row, answer.kind) for answer in scored] == [(row.number, k) for row in rows for k in row.kinds]
    for row in rows:
        measured = measure(model.decoder, (row.example,))
        own = [answer for answer in scored if answer.row == row.number]
        assert sum(answer.loss for answer in own) == pytest.approx(measured.loss.item(), rel=1e-4)
        assert sum(answer.tokens for answer in own) == measured.count


def test_an_answer_is_exact_if_greedy_decoding_gives_it(model, rows):
    """The first one is put in the words of the model itself; the others are not."""
    decoder, tokens, learned = model.decoder, list(rows[2].example.tokens), rows[2].example.learned
    for place in (place for place, answer in enumerate(learned) if answer):
        layout = decoder.dense_layout([place])
        hidden = decoder(torch.tensor(tokens[:place]), layout.positions_T, NoCache(), layout)
        tokens[place] = int(decoder.logits(hidden[-1:]).argmax())
    own = HeldOut(0, Example(tuple(tokens), learned), ("ask back",))
    assert [answer.exact for answer in score(decoder, [own, rows[1]])] == [True, False]


def test_rows_that_cannot_be_measured_are_told(tmp_path, model):
    path = tmp_path / "rows.jsonl"
    long = {"messages": [USER, said("long " * 500)]}
    path.write_text("\n".join([json.dumps(ROWS[1]), "{", "[]", json.dumps({"messages": [USER]}), json.dumps(long)]))
    rows, bad = read_held_out(path, model.chat, 200)
    assert [row.number for row in rows] == [0]
    assert [each.place for each in bad] == [f"rows.jsonl:{line}" for line in (2, 3, 4, 5)]
    path.write_text("{\n")
    with pytest.raises(ConfigError, match="no valid row"):
        read_held_out(path, model.chat, 200)
