"""How a placeholder is written: ``[EMAIL_1]``. ASCII, no escape in JSON, and few tokens, so that small models copy it.

Values of a session are numbered. Values of an agent's fixed texts have letters, so that they don't move the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import regex

from guardrails.finders.pattern import Finding
from guardrails.finders.personal import KINDS

LITERAL = "text"
"""Kind of what only looks like a placeholder. It gets one of its own, so that it is never filled in as another."""
_KINDS = [kind.upper() for kind in (*KINDS, LITERAL)]
_EVERY = "|".join(_KINDS)
_MARK = regex.compile(rf"\[(?:{_EVERY})_(?:[1-9][0-9]{{0,5}}|[A-Z]{{1,3}})\]", regex.IGNORECASE | regex.ASCII)
"""A placeholder as models may write it: in any case."""
_GAP = r"\s{0,3}"
_ALIKE = regex.compile(rf"[\[［【⟦]{_GAP}(?:{_EVERY}){_GAP}[_＿]{_GAP}\w{{1,6}}{_GAP}[\]］】⟧]", regex.IGNORECASE)
"""Texts that a model may take for a placeholder: with other brackets, or with blanks."""
LONGEST = max(map(len, _KINDS)) + 9


def mark(kind: str, number: int, *, fixed: bool = False) -> str:
    """The placeholder of the ``number``-th value of a kind, from 1 on."""
    return f"[{kind.upper()}_{_letters(number) if fixed else number}]"


def alike(text: str) -> list[Finding]:
    """Places of a text that a model could take for placeholders. Contains all places of ``replaced``."""
    return (
        [Finding(match.start(), match.end(), LITERAL) for match in _ALIKE.finditer(text)]
        if "_" in text or "＿" in text
        else []
    )


def replaced(text: str, value: Callable[[str], str | None]) -> str:
    """The text with each placeholder replaced by its value; one without a value stays."""
    if "[" not in text:
        return text

    def filled(match: regex.Match[str]) -> str:
        found = value(match.group().upper())
        return match.group() if found is None else found

    return str(_MARK.sub(filled, text))


def marks(text: str) -> Iterator[str]:
    """The placeholders in a text."""
    yield from (match.group().upper() for match in _MARK.finditer(text))


def open_at(text: str) -> int:
    """Where a placeholder may have begun that more text could complete; the text's length if nowhere."""
    at = text.rfind("[", max(0, len(text) - LONGEST))
    return at if at >= 0 and _MARK.fullmatch(text, at, partial=True) and not _MARK.match(text, at) else len(text)


def _letters(number: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
