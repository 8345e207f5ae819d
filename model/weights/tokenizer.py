"""Converts text to token ids and back, and lists the bytes of every token.

Special tokens (such as ``<|im_start|>``) are recognised only with ``allow_special``: text of users or tools must not be
able to end a turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from flightloop.errors import ConfigError

CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
"""GGUF's types of tokens: special ones, words that are tokens wherever they occur, and padding of the vocabulary."""


class Tokenizer:
    """A byte-level BPE tokenizer.

    Attributes:
        special: ids of special tokens by text.
        backend: the library's tokenizer, which doesn't know the special tokens.
        eos_id: id that ends an answer. bos_id, pad_id: ids at the beginning and for padding, or None.
        chat_template: the checkpoint's Jinja template, or None. See `model.chat.format`.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: Mapping[str, int],
        eos_id: int,
        bos_id: int | None = None,
        pad_id: int | None = None,
        chat_template: str | None = None,
    ) -> None:
        self.backend = backend
        self.special = dict(special)
        self.eos_id = eos_id
        self.bos_id = bos_id
        self.pad_id = pad_id
        self.chat_template = chat_template
        # Longest first, so that no special token hides another one with the same beginning.
        names = sorted(self.special, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.token_bytes)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special tokens."""
        return frozenset(self.special.values())

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of each id; for a special token, those of its name."""
        to_byte = _byte_of_character()
        ids: dict[str, int] = {**self.backend.get_vocab(with_added_tokens=True), **self.special}
        table = [b""] * (max(ids.values()) + 1)
        verbatim = self.special_ids | self.backend.get_added_tokens_decoder().keys()
        for text, index in ids.items():
            table[index] = text.encode() if index in verbatim else bytes(to_byte[character] for character in text)
        return tuple(table)

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Token ids of a text.

        Args:
            text: any text; see `representable`.
            allow_special: convert names of special tokens to their ids; otherwise they are plain text.
        """
        text = self.representable(text)
        if not allow_special:
            return list(self.backend.encode(text, add_special_tokens=False).ids)
        ids: list[int] = []
        for part in self.split(text):
            if part in self.special:
                ids.append(self.special[part])
            else:
                ids.extend(self.backend.encode(part, add_special_tokens=False).ids)
        return ids

    def split(self, text: str) -> list[str]:
        """The text in parts: names of special tokens, and what lies between them."""
        return [text] if self._split is None else [part for part in self._split.split(text) if part]

    def representable(self, text: str) -> str:
        """The text with U+FFFD in place of characters that no tokens can represent, which BPE would silently drop.

        These are characters with a byte that the vocabulary lacks (SmolLM2: some control characters, and unused planes
        of Unicode), and halves of surrogate pairs, which JSON can contain but UTF-8 cannot.
        """
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            raw = text.encode()
        if len(raw.translate(None, self._missing)) == len(raw):
            return text
        missing = set(self._missing)
        return "".join("\ufffd" if missing & set(character.encode()) else character for character in text)

    @cached_property
    def _missing(self) -> bytes:
        return bytes(set(range(256)) - {token[0] for token in self.token_bytes if len(token) == 1})

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Text of token ids. Invalid UTF-8 (a split character) becomes U+FFFD."""
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = True) -> bytes:
        """Bytes of token ids."""
        table, special = self.token_bytes, self.special_ids
        return b"".join(table[index] for index in ids if not (skip_special and index in special))


def tokenizer_from_gguf(metadata: Mapping[str, Any], untrained: Collection[int] = ()) -> Tokenizer:
    """The tokenizer in a GGUF's metadata.

    Args:
        metadata: the file's metadata.
        untrained: words of the vocabulary to write in several tokens instead (`model.weights.untrained`).

    Raises:
        ConfigError: the tokenizer isn't GPT-2's BPE, or its pre-tokenizer is unknown.
    """
    kind, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise ConfigError(
            f"the GGUF's tokenizer is {kind}/{pre}; known: gpt2 with {', '.join(sorted(_PRE_TOKENIZERS))}",
            param="model",
        )
    try:
        return _bpe(metadata, pre, untrained)
    except KeyError as error:
        raise ConfigError(f"the GGUF's metadata has no {error.args[0]}", param="model") from error


def _bpe(metadata: Mapping[str, Any], pre: str, untrained: Collection[int]) -> Tokenizer:
    tokens: Sequence[str] = metadata["tokenizer.ggml.tokens"]
    types: Sequence[int] = metadata["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    vocabulary = {text: index for index, text in enumerate(tokens) if index not in untrained}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    _PRE_TOKENIZERS[pre](backend)
    words = [index for index, kind in enumerate(types) if kind == USER_DEFINED and index not in untrained]
    backend.add_tokens([tokens[index] for index in words])
    return Tokenizer(
        backend,
        special={text: index for index, text in enumerate(tokens) if types[index] == CONTROL},
        eos_id=int(metadata["tokenizer.ggml.eos_token_id"]),
        bos_id=metadata.get("tokenizer.ggml.bos_token_id"),
        pad_id=metadata.get("tokenizer.ggml.padding_token_id"),
        chat_template=metadata.get("tokenizer.chat_template"),
    )


def _smollm(backend: tokenizers.Tokenizer) -> None:
    # Split digits, then GPT-2's own split.
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _gpt2(backend: tokenizers.Tokenizer) -> None:
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)


def _qwen2(backend: tokenizers.Tokenizer) -> None:
    backend.normalizer = normalizers.NFC()
    _split(backend, digits=1)


def _llama3(backend: tokenizers.Tokenizer) -> None:
    _split(backend, digits=3)


def _split(backend: tokenizers.Tokenizer, digits: int) -> None:
    """Splits as the tokenizers of Qwen 2 and Llama 3 do, which differ in how many digits stay together."""
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        rf"\p{{N}}{{1,{digits}}}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex("|".join(words)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_PRE_TOKENIZERS: Mapping[str, Callable[[tokenizers.Tokenizer], None]] = {
    "smollm": _smollm,
    "gpt-2": _gpt2,
    "default": _gpt2,
    "qwen2": _qwen2,
    "llama-bpe": _llama3,
}


def _byte_of_character() -> dict[str, int]:
    """GPT-2's mapping of bytes to characters: printable Latin-1 to itself, the rest to U+0100 and above."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(256 + position): byte for position, byte in enumerate(others)},
    }
