"""The tokenizer of a Hugging Face checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

from flightloop.errors import ConfigError
from model.weights.tokenizer import Tokenizer


def tokenizer_from_folder(folder: Path, eos: object = None) -> Tokenizer:
    """Reads tokenizer.json, and the chat template where there is one.

    Args:
        folder: of the checkpoint.
        eos: ``eos_token_id`` of config.json, which counts when tokenizer_config.json names no token.

    Raises:
        ConfigError: when the file is missing or is no byte-level BPE, or nothing says which token ends an answer.
    """
    document = _read(folder / "tokenizer.json")
    if document is None:
        raise ConfigError(f"{folder} has no tokenizer.json", param="model")
    pre_tokenizer = json.dumps(document.get("pre_tokenizer"))
    if (document.get("model") or {}).get("type") != "BPE" or '"ByteLevel"' not in pre_tokenizer:
        raise ConfigError(f"{folder / 'tokenizer.json'} is no byte-level BPE, the only kind known", param="model")
    added = document.get("added_tokens") or []
    special = {token["content"]: token["id"] for token in added if token["special"]}
    # The special ones are split off by `Tokenizer`, so that the backend can't find them in what a user writes.
    document["added_tokens"] = [token for token in added if not token["special"]]
    document["post_processor"] = None
    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises Exception itself
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


def _eos(folder: Path, settings: dict[str, Any], special: dict[str, int], eos: object) -> int:
    named = special.get(_content(settings.get("eos_token")))
    if named is not None:
        return named
    first = eos[0] if isinstance(eos, list) and eos else eos
    if not isinstance(first, int):
        raise ConfigError(f"nothing in {folder} says which token ends an answer (eos_token)", param="model")
    return first


def _content(token: object) -> str:
    # A token is written as its text, or as an object around it.
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
