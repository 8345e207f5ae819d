"""Adapts a tokenizer to the engine: tokens to text, end tokens, grammars."""

from __future__ import annotations

import codecs
from functools import cached_property

from llguidance import LLTokenizer, TokenizerWrapper

from model.chat.compact import TURN_CLOSE, CompactChat
from model.chat.format import ChatFormat
from model.engine.grammar import Grammars
from model.weights.tokenizer import Tokenizer

_ENDS = (TURN_CLOSE, "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>")


class Vocabulary:
    """Wraps a tokenizer.

    Args:
        tokenizer: the model's tokenizer.
        size: V, the columns of the model's logits; at least the tokenizer's own size.
        chat: how the model reads conversations and writes calls; None: the compact format of the model ``edge``.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, chat: ChatFormat | None = None) -> None:
        assert size >= tokenizer.vocab_size
        self.tokenizer = tokenizer
        self.size = size
        self.chat = chat or CompactChat(tokenizer)
        special = tokenizer.special
        self.ends = frozenset({tokenizer.eos_id, *(special[name] for name in _ENDS if name in special)})

    def piece(self, token: int) -> bytes:
        """The bytes of a token, which may be part of a character."""
        table = self.tokenizer.token_bytes
        return table[token] if token < len(table) else b""

    def detokenizer(self) -> Detokenizer:
        return Detokenizer(self)

    @cached_property
    def grammars(self) -> Grammars:
        guidance = LLTokenizer(TokenizerWrapper(_Guidance(self)), n_vocab=self.size, eos_token=sorted(self.ends))
        return Grammars(guidance)


class Detokenizer:
    """Converts tokens to text one by one; a character appears when it is complete."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._special = vocabulary.tokenizer.special_ids
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes; empty for special tokens."""
        return "" if token in self._special else self._decoder.decode(self._vocabulary.piece(token))


class _Guidance:
    """The vocabulary in the form that llguidance expects."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokenizer = vocabulary.tokenizer
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = [vocabulary.piece(token) for token in range(vocabulary.size)]
        self._encode = tokenizer.encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode())
