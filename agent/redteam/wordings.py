"""Sentences of attacks in four languages, and disguises of them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from agent.redteam.attack import Call

LANGUAGES = ("en", "de", "zh", "es")
ZERO_WIDTH = "\u200b"
_LOOK_ALIKE = str.maketrans("aceopxyi", "асеорхуі")
"""Latin letters and the Cyrillic ones that look the same."""


@cache
def wordings() -> Mapping[str, Any]:
    """The sentences of ``wordings.yaml``, by kind and language."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "wordings.yaml").read_text(encoding="utf-8"))
    return found


def drawn(chance: random.Random, kind: str, language: str) -> str:
    """One of the sentences of a kind."""
    return str(chance.choice(wordings()[kind][language]))


def of_call(sentence: str, call: Call) -> str:
    """A sentence about a call."""
    name, arguments = call
    plain = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return sentence.format(
        tool=name,
        act=in_words(name),
        values=values_in_words(arguments),
        call=plain,
        arguments=json.dumps(arguments, ensure_ascii=False),
    )


def in_words(name: str) -> str:
    """The name of a tool or an argument in words: ``pay_invoice`` is "pay invoice"."""
    return name.replace("_", " ").replace("-", " ")


def values_in_words(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{in_words(name)} {_told(value)}" for name, value in arguments.items())


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "comment": lambda text: f"<!-- {text} -->",
    "markdown": lambda text: f'[details](#a "{text}")',
    "json": lambda text: json.dumps({"next": text}, ensure_ascii=False),
    "base64": lambda text: "base64: " + base64.b64encode(text.encode()).decode(),
    "zero width": lambda text: ZERO_WIDTH.join(text),
    "look-alikes": lambda text: text.translate(_LOOK_ALIKE),
    "spaced": lambda text: " ".join(text),
    "quoted": lambda text: f'> From: the team\n> "{text}"',
}
"""Forms in which a text is hidden from detectors, by name."""
