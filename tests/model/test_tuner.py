from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError
from model.chat.compact import CompactChat, encode
from model.nn.decoder import Decoder
from model.tuner.examples import Example, Pair, example_of, pair_of, read, read_pairs
from model.tuner.objective import measure
from model.tuner.packing import batches
from model.tuner.preference import REFERENCE, Preference, judge
from model.tuner.tuner import CHECKPOINT, EXPERTS, HISTORY, LORA, Recipe, Tuner
from model.weights.assemble import assemble
from model.weights.experts import expert_state, load_experts
from model.weights.lora import merged
from model.weights.tiny import TINY, embedded_tokenizer, random_decoder

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
ROW = {
    "tools": [TOOL],
    "messages": [
        {"role": "user", "content": "Is it raining?"},
        {"role": "assistant", "content": '{"goal": "look", "tools": ["weather"]}', "name": "plan"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": '"rain"', "tool_call_id": "1"},
        {"role": "assistant", "content": "Yes, it is."},
    ],
}


@pytest.fixture(scope="module")
def tokenizer():
    return embedded_tokenizer()


def learned_text(example, tokenizer):
    """The answers, each up to the token that ends it."""
    ids = [token for token, learned in zip(example.tokens, example.learned, strict=True) if learned]
    return tokenizer.decode(ids, skip_special=False)


def row(*answers, **fields):
    messages = [message for answer in answers for message in ({"role": "user", "content": "Go"}, answer)]
    return {"messages": messages, **fields}


def test_the_answers_are_what_is_learned(tokenizer):
    text = learned_text(example_of(ROW, CompactChat(tokenizer), 1000), tokenizer)
    for each in ('{"goal": "look", "tools": ["weather"]}</plan>', '<tool_call>[{"name": "weather", ', "Yes, it is."):
        assert each in text
    for each in ("<plan>", 'rain"', "raining", "system"):
        assert each not in text


def test_an_answer_follows_the_prompt_that_will_be_asked(tokenizer):
    """Token by token, also where the request forces a call or a form."""
    for fields in ({}, {"tool_choice": "required"}, {"response_format": {"type": "json_object"}}):
        conversation = {**row({"role": "assistant", "content": "Done"}), "tools": [TOOL], **fields}
        example = example_of(json.loads(json.dumps(conversation)), CompactChat(tokenizer), 1000)
        asked = ChatRequest(model="m", messages=conversation["messages"][:-1], tools=[TOOL], **fields)
        prompt = encode(asked, tokenizer, 1000)
        assert list(example.tokens[: len(prompt)]) == prompt
        assert not any(example.learned[: len(prompt)])
        assert example.learned[len(prompt)]


def test_a_message_of_weight_zero_is_not_learned(tokenizer):
    answers = [{"role": "assistant", "content": "Wrong.", "weight": 0}, {"role": "assistant", "content": "Right."}]
    assert "Wrong" not in learned_text(example_of(row(*answers), CompactChat(tokenizer), 1000), tokenizer)


def test_bad_rows_are_named_or_skipped(tmp_path, tokenizer):
    good = json.dumps(row({"role": "assistant", "content": "Fine."}))
    bad = [
        "{",
        "[]",
        json.dumps({"messages": [{"role": "user", "content": "x"}]}),
        json.dumps({"messages": [{"role": "me"}]}),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([good, "", *bad, json.dumps(row({"role": "assistant", "content": "long " * 500}))]))
    with pytest.raises(
        ConfigError, match=r"5 bad rows: line 3: .*; line 4: .*; line 5: no assistant message.*; line 6: .*role"
    ):
        read(path, CompactChat(tokenizer), 200)
    reading = read(path, CompactChat(tokenizer), 200, "skip")
    assert len(reading.items) == 1
    assert [each.line for each in reading.bad] == [3, 4, 5, 6, 7]
    assert "exceed the limit of 200" in reading.bad[-1].reason


def test_a_file_without_rows_is_an_error(tmp_path, tokenizer):
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("empty.jsonl", "missing.jsonl"):
        with pytest.raises(ConfigError):
            read(tmp_path / name, CompactChat(tokenizer), 200)


@given(lengths=st.lists(st.integers(1, 40), max_size=30), tokens=st.integers(1, 60), seed=st.integers(0, 5))
def test_each_example_is_in_one_batch(lengths, tokens, seed):
    examples = [Example((number,) * length, (True,) * length) for number, length in enumerate(lengths)]
    made = batches(examples, tokens, seed)
    assert sorted(example.tokens for batch in made for example in batch) == sorted(each.tokens for each in examples)
    assert all(len(batch) == 1 or sum(map(len, batch)) <= tokens for batch in made)
    assert made == batches(examples, tokens, seed)


def examples(count, length=12):
    """Whose answers repeat one token: soon learned."""
    generator = torch.Generator().manual_seed(1)
    texts = torch.randint(0, TINY.vocab, (count, length), generator=generator).tolist()
    return [Example((*text, *[7] * 4), (*[False] * length, *[True] * 4)) for text in texts]


def mixture() -> Decoder:
    decoder = random_decoder(TINY, 5)
    for name, value in expert_state(decoder.state_dict()).items():
        if "down" in name:
            value.zero_()
    return decoder


def test_the_loss_is_that_of_whole_logits():
    decoder, batch = mixture(), tuple(examples(3))
    measured = measure(decoder, batch)
    expected = 0.0
    for example in batch:
        alone = measure(decoder, (example,))
        expected += alone.loss.item()
        assert alone.count == 4
    assert measured.loss.item() == pytest.approx(expected, rel=1e-5)
    again = measure(decoder, batch, recompute=True)
    assert again.loss.item() == pytest.approx(measured.loss.item(), rel=1e-6)
    assert measured.chosen_LE.sum(1).tolist() == [48 * TINY.active] * TINY.layers


def test_tuning_lowers_the_loss_and_leaves_the_base_alone(tmp_path):
    decoder = mixture()
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    tuner, held_out = Tuner(decoder, folder=tmp_path), examples(4)
    first = tuner.evaluate(held_out)
    [made] = tuner.fit(examples(32), held_out, Recipe(epochs=4, learning_rate=0.02, batch_tokens=64))
    assert tuner.evaluate(held_out) < 0.7 * first
    trained = expert_state(before)
    for name, value in decoder.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in trained), name
    loaded = load_experts(made, TINY)
    assert loaded.keys() == trained.keys()
    history = [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert [each["step"] for each in history] == list(range(1, len(history) + 1))
    assert history[-1]["evaluation"] < first


def test_the_bias_gives_idle_experts_work(tmp_path):
    def busiest(balance):
        shares, decoder = [], mixture()
        decoder.blocks[0].moe.router.weight_ED.data[0] += 3 * decoder.blocks[0].moe.router.weight_ED.std()
        for block in decoder.blocks:
            block.moe.router.bias_E.data.copy_(torch.tensor([0.3, 0.0, 0.0, 0.0]))
        recipe = Recipe(epochs=20, learning_rate=0.0, batch_tokens=64, balance=balance)
        folder = tmp_path / str(balance)
        Tuner(decoder, folder=folder).fit(examples(32), (), recipe, lambda progress: shares.append(progress.busiest))
        return sum(shares[-8:]) / 8

    assert busiest(0.01) < busiest(0.0) - 0.1


class Crash(Exception):
    pass


@pytest.mark.parametrize("crash", [1, 5, 11])
def test_an_interrupted_tuning_ends_as_if_it_had_not_been(tmp_path, crash):
    recipe = Recipe(epochs=3, learning_rate=0.02, batch_tokens=64, checkpoint_s=0)

    def fit(folder, told=lambda progress: None):
        decoder = mixture()
        Tuner(decoder, folder=folder).fit(examples(16), (), recipe, told)
        return expert_state(decoder.state_dict())

    def stop(progress):
        if progress.step == crash:
            raise Crash

    with pytest.raises(Crash):
        fit(tmp_path / "stopped", stop)
    resumed, whole = fit(tmp_path / "stopped"), fit(tmp_path / "whole")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    steps = [json.loads(line)["step"] for line in (tmp_path / "stopped" / HISTORY).read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))


def test_another_recipe_does_not_go_on(tmp_path):
    Tuner(mixture(), folder=tmp_path).fit(examples(4), recipe=Recipe(batch_tokens=64))
    with pytest.raises(ConfigError, match="other data or settings"):
        Tuner(mixture(), folder=tmp_path).fit(examples(5), recipe=Recipe(batch_tokens=64))
    (tmp_path / CHECKPOINT).write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="can't be read"):
        Tuner(mixture(), folder=tmp_path).fit(examples(4), recipe=Recipe(batch_tokens=64))


def pairs(count):
    """The same texts, answered with one token or with another: the first is better."""
    found = examples(count)
    return [Pair(each, Example((*each.tokens[:-4], *[9] * 4), each.learned)) for each in found]


def ahead(decoder, judged):
    with torch.no_grad():
        return [
            measure(decoder, (each.rejected,)).loss.item() - measure(decoder, (each.chosen,)).loss.item()
            for each in judged
        ]


def test_the_better_answer_becomes_likelier_than_the_other(tmp_path):
    decoder, judged = mixture(), pairs(16)
    before = ahead(decoder, judged)
    recipe = Recipe(epochs=4, learning_rate=0.01, batch_tokens=128)
    losses = []
    Tuner(decoder, "preference", tmp_path).fit(judged, (), recipe, lambda progress: losses.append(progress.loss))
    after = ahead(decoder, judged)
    assert all(later > earlier for earlier, later in zip(before, after, strict=True))
    assert losses[-1] < losses[0]


def test_the_first_preference_loss_is_that_of_a_coin(tmp_path):
    decoder = mixture()
    judged = judge(decoder, pairs(5), 64, tmp_path / REFERENCE, "base")
    measured = Preference(decoder, judged, sharpness=0.1, anchor=0.0).measure(judged)
    assert measured.loss.item() / measured.count == pytest.approx(math.log(2), abs=1e-5)
    anchored = Preference(decoder, judged, sharpness=0.1, anchor=1.0).measure(judged)
    supervised = measure(decoder, tuple(each.pair.chosen for each in judged))
    expected = measured.loss.item() + supervised.loss.item() / 4
    assert anchored.loss.item() == pytest.approx(expected, rel=1e-5)


def test_an_interrupted_preference_tuning_keeps_its_reference(tmp_path):
    recipe = Recipe(epochs=2, learning_rate=0.02, batch_tokens=64, checkpoint_s=0)

    def fit(folder, told=lambda progress: None):
        decoder = mixture()
        Tuner(decoder, "preference", folder).fit(pairs(8), (), recipe, told)
        return expert_state(decoder.state_dict())

    def stop(progress):
        if progress.step == 3:
            raise Crash

    with pytest.raises(Crash):
        fit(tmp_path / "stopped", stop)
    resumed, whole = fit(tmp_path / "stopped"), fit(tmp_path / "whole")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    with pytest.raises(ConfigError, match="has 8 pairs instead of 9"):
        judge(mixture(), pairs(9), 64, tmp_path / "whole" / REFERENCE, "base")


def test_the_reference_of_another_base_is_refused(tmp_path):
    recipe = Recipe(batch_tokens=64)
    Tuner(mixture(), "preference", tmp_path).fit(pairs(4), (), recipe)
    (tmp_path / CHECKPOINT).unlink(missing_ok=True)
    Tuner(mixture(), "preference", tmp_path).fit(pairs(4), (), recipe)
    (tmp_path / CHECKPOINT).unlink(missing_ok=True)
    other = mixture()
    with torch.no_grad():
        other.embedding.weight_VD[0, 0] += 1
    with pytest.raises(ConfigError, match="another base model"):
        Tuner(other, "preference", tmp_path).fit(pairs(4), (), recipe)


def test_a_checkpoint_of_another_base_is_refused(tmp_path):
    recipe = Recipe(batch_tokens=64, checkpoint_s=0)
    Tuner(mixture(), folder=tmp_path).fit(examples(4), recipe=recipe)
    other = mixture()
    with torch.no_grad():
        other.embedding.weight_VD[0, 0] += 1
    with pytest.raises(ConfigError, match="checkpoint"):
        Tuner(other, folder=tmp_path).fit(examples(4), recipe=recipe)


def test_a_pair_is_two_answers_to_the_same_words(tokenizer, tmp_path):
    better, worse = {"role": "assistant", "content": "Yes."}, {"role": "assistant", "tool_calls": [CALL]}
    row = {"tools": [TOOL], "messages": ROW["messages"][:1], "chosen": better, "rejected": worse}
    pair = pair_of(row, CompactChat(tokenizer), 1000)
    assert learned_text(pair.chosen, tokenizer) == "Yes.<|im_end|>"
    assert learned_text(pair.rejected, tokenizer).startswith("<tool_call>")
    first = pair.chosen.learned.index(True)
    assert pair.chosen.tokens[:first] == pair.rejected.tokens[:first]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, [row, {**row, "rejected": better}, {"messages": []}])))
    reading = read_pairs(file, CompactChat(tokenizer), 1000, "skip")
    assert [bad.line for bad in reading.bad] == [2, 3]
    assert len(reading.items) == 1


DENSE = replace(TINY, experts=0, expert_width=0, active=0)


@pytest.mark.parametrize("trained", ["lora", "both"])
def test_low_rank_changes_are_what_is_added_when_the_model_is_loaded(tmp_path, trained):
    shape = DENSE if trained == "lora" else TINY
    decoder = random_decoder(shape, 0)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    tuner, held_out = Tuner(decoder, folder=tmp_path, trained=trained, rank=4), examples(4)
    first = tuner.evaluate(held_out)
    made = tuner.fit(examples(32), (), Recipe(epochs=4, learning_rate=0.02, batch_tokens=64))
    last = tuner.evaluate(held_out)
    assert last < 0.7 * first
    assert [file.name for file in made] == ([EXPERTS] if trained == "both" else []) + [LORA]
    after = decoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items() if ".moe.router." not in name
               and ".moe.experts." not in name)  # fmt: skip
    state = {**before, **(load_experts(made[0], TINY) if trained == "both" else {})}
    loaded = assemble(shape, merged(state, tmp_path / LORA), torch.float32)
    assert Tuner(loaded, trained="lora").evaluate(held_out) == pytest.approx(last, rel=0.02)


def test_low_rank_changes_of_another_model_are_refused(tmp_path):
    tuner = Tuner(random_decoder(DENSE, 0), folder=tmp_path, trained="lora", rank=2)
    [made] = tuner.fit(examples(2), recipe=Recipe(batch_tokens=64))
    for other in (replace(DENSE, layers=1), replace(DENSE, shared_width=DENSE.shared_width + 32)):
        with pytest.raises(ConfigError, match="does not fit this model"):
            merged(random_decoder(other, 0).state_dict(), made)
    made.write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="cannot read"):
        merged(random_decoder(DENSE, 0).state_dict(), made)


def test_a_dense_model_has_no_experts_to_train(tmp_path):
    with pytest.raises(ConfigError, match="no experts"):
        Tuner(random_decoder(DENSE, 0), folder=tmp_path)
