"""Reasoning before an answer, split off while it streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.chat.calls import HERMES
from model.chat.reasoning import ReasoningReader
from model.chat.template import ChatTemplate
from model.engine.request import EngineOutput
from model.engine.vocabulary import Vocabulary
from model.serve.openai_chunks import ChunkWriter
from model.weights.tiny import embedded_tokenizer

THOUGHTS = st.text(alphabet="ab <>/think\n", max_size=30).filter(lambda text: "</think>" not in text)


def read(pieces: list[str], *, begun: bool = False, held: bool = False) -> tuple[str, str]:
    reader = ReasoningReader(begun=begun, held=held)
    parts = [*(reader.push(piece) for piece in pieces), reader.finish()]
    return "".join(part for part, _ in parts), "".join(text for _, text in parts)


@pytest.mark.parametrize(
    ("answer", "begun", "held", "expected"),
    [
        ("Paris.", False, False, ("", "Paris.")),
        ("<think>\nFrance.\n</think>\n\nParis.", False, False, ("France.\n", "Paris.")),
        ("  <think>x</think>y", False, False, ("x", "y")),
        ("<think></think>y", False, False, ("", "y")),
        ("France.</think>\n\nParis.", True, False, ("France.", "Paris.")),
        ("<think>\nFrance.</think>Paris.", True, False, ("France.", "Paris.")),
        ("France. No end", True, False, ("France. No end", "")),
        ("France.</thin", True, False, ("France.</thin", "")),
        ("<think>cut", False, False, ("cut", "")),
        ("<thin", False, False, ("", "<thin")),
        ("a <think>b</think>", False, False, ("", "a <think>b</think>")),
        ("a</think>b</think>c", True, False, ("a", "b</think>c")),
        ('{"goal": 1}', True, True, ("", '{"goal": 1}')),
        ("<tool_call>x", True, True, ("", "<tool_call>x")),
        ("Hm.</think>{", True, True, ("Hm.", "{")),
        ("", True, False, ("", "")),
    ],
)
def test_answers(answer: str, begun: bool, held: bool, expected: tuple[str, str]) -> None:
    assert read([answer], begun=begun, held=held) == expected


@given(thoughts=THOUGHTS, text=st.text(max_size=20), begun=st.booleans(), held=st.booleans(), data=st.data())
def test_the_cuts_do_not_matter(thoughts: str, text: str, begun: bool, held: bool, data: st.DataObject) -> None:
    whole = f"{'' if begun else '<think>'}{thoughts}</think>{text}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read(pieces, begun=begun, held=held) == read([whole], begun=begun, held=held)


def test_what_is_certain_is_told_at_once() -> None:
    reader = ReasoningReader(begun=True, held=False)
    assert reader.push("one </") == ("one ", "")
    assert reader.push("b></think> two") == ("</b>", "two")
    assert reader.push(" three") == ("", " three")


def test_chunks_have_reasoning_text_and_calls_apart() -> None:
    tokenizer = embedded_tokenizer()
    chat = ChatTemplate("{{ messages[0].content }}<think></think>", tokenizer, HERMES)
    vocabulary = Vocabulary(tokenizer, tokenizer.vocab_size, chat)
    writer = ChunkWriter("id", "model", vocabulary, calls=True, held=False, logprobs=False)
    call = '<tool_call>\n{"name": "find", "arguments": {"text": "a"}}\n</tool_call>'
    pieces = ["<thi", "nk>\nI look", " it up.</thi", f"nk>\n\n{call[:20]}", call[20:]]
    chunks = [
        chunk
        for number, piece in enumerate(pieces)
        for chunk in writer.write(EngineOutput("id", text=piece, finish="stop" if number == len(pieces) - 1 else None))
    ]
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.reasoning_content or "" for delta in deltas) == "I look it up."
    assert not any(delta.content for delta in deltas)
    functions = [each.function for delta in deltas for each in delta.tool_calls or []]
    assert [each.name for each in functions if each.name] == ["find"]
    assert "".join(each.arguments or "" for each in functions) == '{"text": "a"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
