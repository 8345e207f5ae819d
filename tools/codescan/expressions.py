"""Regular expressions that take exponential time for some texts (catastrophic backtracking)."""

from __future__ import annotations

import re

LONGEST = 2000
"""Longer expressions are not examined."""
_GROUP = re.compile(
    r"\((?:\?(?:P?<\w+>|[:=!]|<[=!]))?((?:[^()\\\[]|\\.|\[(?:[^\]\\]|\\.)+\])*)\)([+*?]|\{\d+,\d*\})?\??"
)
_ATOM = re.compile(r"((?:\\.|\[(?:[^\]\\]|\\.)+\]|[^\\|]))([+*?]|\{\d+(?:,\d*)?\})?[?+]?", re.DOTALL)
_MANY = ("+", "*", "{")


def repeats_repetition(expression: str) -> bool:
    """Whether a repeated group consists of a repetition and nothing else that must be there, as in ``(a+)+`` and
    ``(\\\\w+\\\\s?)*``, or of alternatives that begin alike, as in ``(a|aa)+``."""
    text = expression[:LONGEST]
    for _ in range(50):  # groups from the inside out
        match = _GROUP.search(text)
        if match is None:
            return False
        content, quantifier = match[1], match[2] or ""
        if quantifier.startswith(_MANY) and _ambiguous(content):
            return True
        inner = content if not quantifier and "|" not in content else rf"\w{quantifier}"
        text = text[: match.start()] + inner + text[match.end() :]
    return False


def _ambiguous(content: str) -> bool:
    alternatives = _split(content)
    if len(alternatives) > 1:
        first = [alternative[:1] for alternative in alternatives if alternative[:1] not in ("", "\\", "[")]
        return len(set(first)) < len(first) and any(len(alternative) > 1 for alternative in alternatives)
    atoms = _ATOM.findall(content)
    repeated = [quantifier for _, quantifier in atoms if quantifier.startswith(_MANY) and not _fixed(quantifier)]
    needed = [quantifier for _, quantifier in atoms if not quantifier or _fixed(quantifier)]
    return bool(repeated) and not needed


def _fixed(quantifier: str) -> bool:
    return quantifier.startswith("{") and "," not in quantifier


def _split(content: str) -> list[str]:
    return re.findall(r"(?:[^|\\\[]|\\.|\[(?:[^\]\\]|\\.)+\])+", content)
