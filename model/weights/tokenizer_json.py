"""Reads the tokenizer of a Hugging Face checkpoint folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from flightloop.errors import ConfigError
from model.weights.tokenizer import Tokenizer

Untrained = Callable[[Collection[int]], Collection[int]]
"""Maps ids of words that are tokens of their own to the untrained ones among them (`model.weights.untrained`)."""


def tokenizer_from_folder(folder: Path, eos: object = None, untrained: Untrained = lambda words: ()) -> Tokenizer:
    """Reads tokenizer.json, and the chat template if there is one.

    Args:
        folder: the checkpoint's folder.
        eos: ``eos_token_id`` of config.json, used if tokenizer_config.json doesn't define the end token.
        untrained: finds words to write in several tokens instead.

    Raises:
        ConfigError: tokenizer.json is missing or isn't byte-level BPE, or neither file defines the end token.
    """
    document = _read(folder / "tokenizer.json")
    if document is None:
        raise ConfigError(f"{folder} has no tokenizer.json", param="model")
    pre_tokenizer = json.dumps(document.get("pre_tokenizer"))
    if (document.get("model") or {}).get("type") != "BPE" or '"ByteLevel"' not in pre_tokenizer:
        raise ConfigError(
            f"{folder / 'tokenizer.json'} is not a byte-level BPE tokenizer, the only supported kind", param="model"
        )
    added = document.get("added_tokens") or []
    special = {token["content"]: token["id"] for token in added if token["special"]}
    # `Tokenizer` splits off special tokens, so that the backend can't find them in a user's text.
    words = {token["id"]: token for token in added if not token["special"]}
    split = untrained(words)
    kept = {index: token for index, token in words.items() if index not in split}
    document["added_tokens"] = list(kept.values())
    _number(document, kept, {words[index]["content"] for index in split})
    document["post_processor"] = None
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"cannot read {folder / 'tokenizer.json'}: {error}", param="model") from error
    settings = _read(folder / "tokenizer_config.json") or {}
    return Tokenizer(
        backend,
        special,
        eos_id=_eos(folder, settings, special, eos),
        bos_id=special.get(_content(settings.get("bos_token"))),
        pad_id=special.get(_content(settings.get("pad_token"))),
        chat_template=_template(folder, settings),
    )


def _number(document: dict[str, Any], kept: Mapping[int, Any], split: Collection[str]) -> None:
    """Writes the added words into the vocabulary, and takes ``split`` out of it.

    The library numbers added words that the vocabulary lacks one after the other, whatever their ids, so the removal
    of some would change those of others.
    """
    vocabulary = document["model"].get("vocab")
    if isinstance(vocabulary, dict):
        added = {token["content"]: index for index, token in kept.items()}
        document["model"]["vocab"] = {word: at for word, at in vocabulary.items() if word not in split} | added


def _eos(folder: Path, settings: dict[str, Any], special: dict[str, int], eos: object) -> int:
    named = special.get(_content(settings.get("eos_token")))
    if named is not None:
        return named
    first = eos[0] if isinstance(eos, list) and eos else eos
    if not isinstance(first, int):
        raise ConfigError(f"{folder} defines no end token: set eos_token in tokenizer_config.json", param="model")
    return first


def _content(token: object) -> str:
    # A token is either its text or an object that contains it.
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    template = settings.get("chat_template")
    return template if isinstance(template, str) else None


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", param="model") from error
    return value if isinstance(value, dict) else None
