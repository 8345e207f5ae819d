"""The tokenizer read from GGUF metadata."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from model.weights.tiny import embedded_tokenizer
from model.weights.tokenizer import tokenizer_from_gguf

TOKENIZER = embedded_tokenizer()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_survives(text):
    ids = TOKENIZER.encode(text)
    spelled = TOKENIZER.representable(text)
    assert len(spelled) == len(text)
    assert all(new in (old, "�") for new, old in zip(spelled, text, strict=True))
    assert TOKENIZER.decode(ids) == spelled
    assert b"".join(TOKENIZER.token_bytes[index] for index in ids) == spelled.encode()


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("zażółć gęślą 🦦\r\n\t\0 日本", "zażółć gęślą 🦦\r\n\t\0 日本"),
        ("a\x04b\U00040000", "a�b�"),
        ("half \ud83e", "half �"),
        ("\ud83e\udda6", "🦦"),
    ],
)
def test_what_the_vocabulary_lacks_becomes_visible(text, spelled):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == spelled


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*TOKENIZER.special, "hello", " ", "<|", "|>", "1042"]), max_size=8))
def test_special_tokens_only_where_allowed(parts):
    text = "".join(parts)
    plain = TOKENIZER.encode(text)
    assert not TOKENIZER.special_ids & set(plain)
    assert TOKENIZER.decode(plain) == text
    special = TOKENIZER.encode(text, allow_special=True)
    assert TOKENIZER.decode(special, skip_special=False) == text
    assert sum(index in TOKENIZER.special_ids for index in special) == sum(part in TOKENIZER.special for part in parts)


def test_known_ids():
    assert TOKENIZER.special["<|im_start|>"] == 1
    assert TOKENIZER.eos_id == TOKENIZER.special["<|im_end|>"] == 2
    assert TOKENIZER.vocab_size == 49_152
    assert "<|im_start|>" in TOKENIZER.chat_template


def test_digits_stand_alone():
    assert [TOKENIZER.token_bytes[index] for index in TOKENIZER.encode("42007")] == [b"4", b"2", b"0", b"0", b"7"]
    # A space before a number is a token of its own, as in training.
    assert [TOKENIZER.token_bytes[index] for index in TOKENIZER.encode("order 10")][-3:] == [b" ", b"1", b"0"]


def test_every_id_has_bytes_and_bytes_are_distinct():
    assert all(TOKENIZER.token_bytes)
    assert len(set(TOKENIZER.token_bytes)) == TOKENIZER.vocab_size


def test_cut_characters_are_replaced():
    ids = TOKENIZER.encode("🦦")
    assert len(ids) > 1
    assert "�" in TOKENIZER.decode(ids[:1])


def test_unknown_tokenizers_are_named():
    with pytest.raises(ConfigError, match="llama/spm"):
        tokenizer_from_gguf({"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "spm"})
