from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from model.engine.text import TextStream
from model.engine.vocabulary import Vocabulary
from model.weights.tiny import embedded_tokenizer

VOCABULARY = Vocabulary(embedded_tokenizer(), 49_152)


def stream(*stops: str) -> TextStream:
    return TextStream(VOCABULARY.detokenizer(), stops)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_tokens_give_their_text_back_in_whole_characters(text: str) -> None:
    tokens = VOCABULARY.tokenizer.encode(text)
    assume(VOCABULARY.tokenizer.decode(tokens) == text)  # the vocabulary lacks a few bytes of rare scripts
    subject = stream()
    parts = [subject.push(token) for token in tokens]
    assert "".join(parts) + subject.finish() == text


def test_a_character_cut_in_two_is_held_back() -> None:
    tokens = VOCABULARY.tokenizer.encode("𓀀")
    assert len(tokens) > 1
    subject = stream()
    assert [subject.push(token) for token in tokens[:-1]] == [""] * (len(tokens) - 1)
    assert subject.finish() == "", "half a character is no text"


@given(
    st.lists(st.text("abc", max_size=4), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_texts_end_it_wherever_pieces_meet(pieces: list[str], stops: list[str]) -> None:
    subject = stream(*stops)
    whole = ""
    expected_whole = "".join(pieces)
    for piece in pieces:
        whole += subject.feed(piece)
        assert not any(stop in whole for stop in stops)
    whole += subject.finish()
    found = [expected_whole.find(stop) for stop in stops if stop in expected_whole]
    assert subject.stopped == bool(found)
    if not found:
        assert whole == expected_whole
    else:
        assert expected_whole.startswith(whole)
        assert any(expected_whole.startswith(stop, len(whole)) for stop in stops)


def test_special_tokens_have_no_text() -> None:
    subject = stream()
    assert subject.push(VOCABULARY.tokenizer.special["<|im_start|>"]) == ""
    assert VOCABULARY.ends == {VOCABULARY.tokenizer.special[name] for name in ("<|im_end|>", "<|endoftext|>")}
