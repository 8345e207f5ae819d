"""Texts that the platform says to users, one for each language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import regex

_CHINESE = regex.compile(r"\p{Han}")
Code = TypeVar("Code", bound=str)


def in_language_of(words: str, texts: Mapping[Code, str]) -> str:
    """The text in the language of a user's words: Chinese if they have Chinese characters, else English. The first one
    if there is none."""
    wanted = "zh" if _CHINESE.search(words) else "en"
    return next((text for code, text in texts.items() if code == wanted), next(iter(texts.values())))
