"""Words that a checkpoint's training never used are written as plain text."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.weights.files import embedded_path
from model.weights.folder import _untrained
from model.weights.gguf import GgufFile
from model.weights.tokenizer import UNUSED, USER_DEFINED, tokenizer_from_gguf
from model.weights.tokenizer_json import tokenizer_from_folder
from model.weights.untrained import untrained, untrained_in_gguf

PADDING, READ, CALL = 7, 5, 3


def embedding(rows: int = 8) -> Tensor:
    """Row `CALL` is that of the padding, but for rounding; the others are their own."""
    made = torch.randn(rows, 64, generator=torch.Generator().manual_seed(1))
    made[CALL] = made[PADDING] + 0.002 * made[READ]
    return made


def test_a_word_with_the_embedding_of_the_padding_is_untrained() -> None:
    rows = embedding()
    assert untrained([READ, CALL], PADDING, lambda index: rows[index]) == {CALL}
    assert untrained([READ, CALL], None, lambda index: rows[index]) == frozenset()


def test_a_file_whose_words_are_trained_keeps_them() -> None:
    assert untrained_in_gguf(GgufFile(embedded_path())) == frozenset()


def test_an_untrained_word_of_a_gguf_file_is_written_in_several_tokens() -> None:
    metadata = dict(GgufFile(embedded_path()).metadata)
    tokens, kinds = (list(metadata[f"tokenizer.ggml.{name}"]) for name in ("tokens", "token_type"))
    metadata |= {
        "tokenizer.ggml.tokens": [*tokens, "<tool_call>"],
        "tokenizer.ggml.token_type": [*kinds, USER_DEFINED],
    }
    text = 'say <tool_call>{"a": 1}'
    whole, split = (tokenizer_from_gguf(metadata, words) for words in ((), (len(tokens),)))
    assert len(tokens) in whole.encode(text)
    assert len(tokens) not in split.encode(text)
    assert whole.decode(whole.encode(text)) == split.decode(split.encode(text)) == text
    assert split.vocab_size <= whole.vocab_size


def test_an_untrained_word_of_a_gguf_file_is_found(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "qwen2")
    writer.add_token_types([1, 1, 1, USER_DEFINED, 1, USER_DEFINED, 1, UNUSED])
    rows = embedding()
    writer.add_tensor("token_embd.weight", rows.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GgufFile(tmp_path / "model.gguf")
    torch.testing.assert_close(file.row("token_embd.weight", READ), rows[READ])
    assert untrained_in_gguf(file) == {CALL}


@pytest.mark.parametrize("inside", [False, True], ids=["added words apart", "added words in the vocabulary"])
def test_an_untrained_word_of_a_folder_is_written_in_several_tokens(inside: bool, tmp_path: Path) -> None:
    letters = {chr(code): code - 33 for code in range(33, 127)}
    added = [
        {"id": 95, "content": "<call>", "special": False},
        {"id": 96, "content": "<end>", "special": True},
        {"id": 97, "content": "<read>", "special": False},
    ]
    named = {str(token["content"]): token["id"] for token in added} if inside else {}
    fields = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document = {
        "model": {"type": "BPE", "vocab": letters | named, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "added_tokens": [{**token, **fields} for token in added],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    rows = torch.randn(99, 64, generator=torch.Generator().manual_seed(2))
    rows[95] = rows[98]
    save_file({"model.embed_tokens.weight": rows.bfloat16()}, tmp_path / "model.safetensors")
    found = tokenizer_from_folder(tmp_path, 96, lambda words: _untrained(tmp_path, 99, words))
    assert found.encode("<read>") == [97]
    assert found.encode("<call>") == [letters[letter] for letter in "<call>"]
    assert found.token_bytes[95] == b""
    # Without padding behind the last word, nothing can be told.
    assert tokenizer_from_folder(tmp_path, 96, lambda words: _untrained(tmp_path, 98, words)).encode("<call>") == [95]
