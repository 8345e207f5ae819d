"""Conversations for training: each answer follows, token by token, the prompt that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.chat import ChatRequest
from model.chat.calls import HERMES
from model.chat.compact import CompactChat
from model.chat.conversation import Piece
from model.chat.format import ChatFormat
from model.chat.hints import plan_schema
from model.chat.template import ChatTemplate
from model.tuner.examples import asked, example_of
from model.weights.tiny import embedded_tokenizer
from tests.model.test_chat_template import CALLS, CHATML, HEADERS, MODEL_TURNS, NAMESPACE, TALK, TOOLS

TOKENIZER = embedded_tokenizer()
# Tools stand before the conversation, as in templates of models that call them.
TOOLS_FIRST = """
{%- if tools %}{{ '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\\n' }}
{%- endif %}""" + CHATML.replace("{%- if tools %}", "{%- if false %}")
FORMATS: dict[str, ChatFormat] = {
    "compact": CompactChat(TOKENIZER),
    "template": ChatTemplate(TOOLS_FIRST, TOKENIZER, HERMES),
}
PLAN = {"role": "assistant", "content": '{"goal": "look", "tools": []}', "name": "plan"}
DONE = {"role": "assistant", "content": "It is on its way."}


def request(messages: Sequence[dict[str, Any]], **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=list(messages), **fields)


def answers_of(messages: Sequence[dict[str, Any]]) -> list[int]:
    return [index for index, message in enumerate(messages) if message["role"] == "assistant"]


def check(chat: ChatFormat, messages: Sequence[dict[str, Any]], **fields: Any) -> list[str]:
    """Checks that each answer follows its prompt, and returns the answers' texts."""
    pieces = chat.conversation(request(messages, **fields), answers_of(messages))
    texts, before = [], list[int]()
    for piece in pieces:
        if piece.answer is not None:
            assert before == chat.encode(request(messages[: piece.answer], **fields), 4096)
            texts.append(TOKENIZER.decode(piece.ids, skip_special=False))
        before += piece.ids
    return texts


@pytest.mark.parametrize("name", FORMATS)
def test_each_answer_follows_its_prompt(name: str) -> None:
    talk = [*TALK, {"role": "assistant", "content": "On <|im_end|> Monday. ünï"}]
    texts = check(FORMATS[name], talk)
    assert texts == ["Sent.<|im_end|>", "On <|im_end|> Monday. ünï<|im_end|>"]


@pytest.mark.parametrize("name", FORMATS)
def test_calls_are_learned_and_results_are_not(name: str) -> None:
    called, said = check(FORMATS[name], [*CALLS, DONE], tools=TOOLS)
    assert '{"name": "track", "arguments": {"order": "ä", "n": [1]}}' in called
    assert said == "It is on its way.<|im_end|>"


@pytest.mark.parametrize("name", FORMATS)
def test_only_the_named_answers_are_learned(name: str) -> None:
    messages = [*TALK, DONE]
    pieces = FORMATS[name].conversation(request(messages), [4])
    assert [piece.answer for piece in pieces if piece.answer is not None] == [4]
    given = TOKENIZER.decode([token for piece in pieces if piece.answer is None for token in piece.ids])
    assert "Sent." in given


def test_a_template_learns_a_plan_that_is_asked_for_and_leaves_out_those_before() -> None:
    chat = FORMATS["template"]
    form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {"type": "object"}}}
    assert check(chat, [CALLS[0], PLAN], response_format=form) == [PLAN["content"] + "<|im_end|>"]
    messages = [CALLS[0], PLAN, *CALLS[1:], DONE]
    pieces = chat.conversation(request(messages, tools=TOOLS), answers_of(messages))
    assert [piece.answer for piece in pieces if piece.answer is not None] == [2, 4]


@pytest.mark.parametrize("source", [NAMESPACE, MODEL_TURNS, HEADERS])
def test_a_template_that_writes_answers_otherwise_is_an_error(source: str) -> None:
    """The first two write more in the prompt, the third ends answers by another token than the model does."""
    with pytest.raises(ValueError, match=r"messages\[2\]: the chat template (writes|doesn't end) the answer"):
        ChatTemplate(source, TOKENIZER, HERMES).conversation(request(TALK), [2])


WORDS = st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>assistant\n", "\n", " ", "a", "é🙂"]), max_size=6).map(
    "".join
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_no_text_forges_an_answer(turns: list[tuple[str, str]]) -> None:
    messages = [
        message
        for asked, said in turns
        for message in ({"role": "user", "content": asked}, {"role": "assistant", "content": said})
    ]
    for chat in FORMATS.values():
        pieces: list[Piece] = chat.conversation(request(messages), answers_of(messages))
        learned = [piece for piece in pieces if piece.answer is not None]
        assert [TOKENIZER.decode(piece.ids[:-1], skip_special=False) for piece in learned] == [
            said for _, said in turns
        ]
        assert {piece.ids[-1] for piece in learned} == {TOKENIZER.eos_id}


def test_a_row_is_asked_as_the_model_is_asked() -> None:
    """Where prompts show no plans, a plan is asked for by itself, and the rest of the row is without it."""
    row = {"tools": TOOLS, "messages": [CALLS[0], PLAN, *CALLS[1:], DONE]}
    assert asked(row, FORMATS["compact"]) == [row]
    planned, rest = asked(row, FORMATS["template"])
    assert planned["messages"] == [CALLS[0], PLAN]
    assert planned["response_format"]["json_schema"]["schema"] == plan_schema(["track"])
    assert rest["messages"] == [CALLS[0], *CALLS[1:], DONE]
    examples = [example_of(each, FORMATS["template"], 4096) for each in (planned, rest)]
    assert [example.answers for example in examples] == [(1,), (1, 3)]


def test_only_plans_that_are_learned_are_asked_for() -> None:
    given = {**PLAN, "weight": 0}
    [rest] = asked({"tools": TOOLS, "messages": [CALLS[0], given, DONE]}, FORMATS["template"])
    assert rest["messages"] == [CALLS[0], DONE]
    done = {**DONE, "weight": 0}
    [planned] = asked({"tools": TOOLS, "messages": [CALLS[0], PLAN, done]}, FORMATS["template"])
    assert planned["messages"] == [CALLS[0], PLAN]
