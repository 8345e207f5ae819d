"""Composed texts without entities: lists, headings, code, sums and sentences of common and invented words."""

from __future__ import annotations

import random
import string
from collections.abc import Collection, Sequence

from guardrails.entity_training.sources import words

_SYLLABLES = (
    "ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sha", "te", "vi", "wo", "xa", "ze", "tion", "ing",
    "ly", "er", "ness", "able", "ous", "ic", "ment", "qu", "str", "ph", "th",
)  # fmt: skip
_LABELS = (
    "Question", "Answer", "Input", "Output", "Summary", "Note", "Role", "Title", "Step", "User", "System", "Genre",
)  # fmt: skip
_CODE = (
    "{a}.{b}({n})",
    "def {a}_{b}({c}):\n    return {c} + {n}",
    "for {a} in range({n}): print({a})",
    '<{a} class="{b}">{C}</{a}>',
    "<td>{A} {n}, {B} {n}</td>",
    ".{a} {{ {b}: {n}px; }}",
    '{{"{a}": {n}, "{b}": "{C}"}}',
    "import {a}.{b} as {c}",
    "{A}{B}({a}, {b}={n})",
    "{A}Error: {b} {c} at line {n}",
    "{n} + {m} = {c}",
    "{a}x + {n}y = {m}",
    "$ {a} --{b} {n}",
    "{A}{B} v{n}.{m}",
    "{a}/{b}/{c}.{a}",
    "| {A} | {B} | {n} |",
    "http_{a}={n}",
    "{n}% of {a}, {m}% of {b}",
    "{n} {a} {b}, {m} {c}",
    "{a} ({n}-{m})",
    "[{n}] {A} {b} {c}",
    "{A} {b}: {n}",
    "{A} {B}: {c}",
)


_SLOTS = (
    "name", "name", "first", "first", "last", "org", "org", "org", "city", "city", "country", "nat", "place", "street",
    "address", "date", "title} {last", "title} {name", "state", "first} and {first", "zip", "year", "job",
)  # fmt: skip


def scattered(draw: random.Random, common: Sequence[str]) -> str:
    """A template of random words with slots in it, so that names are known without what stands beside them."""
    parts = _sentence(" ".join(draw.choices(common, k=draw.randint(2, 12))), frozenset(), draw).replace("{", "").split()
    for _ in range(draw.choice((1, 1, 2))):
        sign = draw.choice(("", "", "", ",", "'s", ".", ")"))
        parts.insert(draw.randint(0, len(parts)), f"{{{draw.choice(_SLOTS)}}}{sign}")
    return " ".join(parts)


def german(draw: random.Random) -> str:
    """A sentence of German words, whose nouns begin with capitals without being names."""
    known = words()["german"]
    made = []
    for _ in range(draw.randint(2, 6)):
        made.append(draw.choice(known["small"]))
        noun = draw.choice(known["nouns"])
        made.append(noun if draw.random() < 0.8 else draw.choice(known["before"]) + noun.lower())
    text = " ".join(made)
    return text[0].upper() + text[1:] + draw.choice((".", ".", "?", "!", ":", ""))


def noise(draw: random.Random, common: Sequence[str]) -> str:
    """A text without entities. ``common``: frequent words."""

    def word() -> str:
        return draw.choice(common) if draw.random() < 0.85 else "".join(draw.choices(_SYLLABLES, k=draw.randint(2, 4)))

    def some(most: int) -> str:
        return " ".join(word() for _ in range(draw.randint(1, most)))

    def heading() -> str:
        # An unknown word in capitals is a name more often than not.
        return " ".join(one.capitalize() for one in draw.choices(common, k=draw.randint(1, 4)))

    chance = draw.random()
    if chance < 0.25:
        mark = draw.choice(("{n}. ", "{n}) ", "- ", "* ", "{n}: ", "({n}) ", "• "))
        item = heading if draw.random() < 0.6 else lambda: f"{heading()} {some(5)}"
        return "\n".join(mark.format(n=at + 1) + item() for at in range(draw.randint(2, 7)))
    if chance < 0.4:
        filled = draw.choice(_CODE)
        values = {name: word() for name in "abc"} | {name: draw.choice(common).capitalize() for name in "ABC"}
        return filled.format(**values, n=draw.randint(0, 400), m=draw.randint(0, 4000))
    if chance < 0.5:
        return heading()
    if chance < 0.6:
        return f"{draw.choice(_LABELS)}: {some(8)}"
    if chance < 0.65:
        return " ".join(draw.choices(string.ascii_letters + string.digits, k=draw.randint(1, 6)))
    end = draw.choice((".", ".", "!", "?", ":", ""))
    return _sentence(some(14), frozenset(common), draw) + end


def _sentence(text: str, common: Collection[str], draw: random.Random) -> str:
    """With some signs between the words, and a frequent word in capitals here and there."""
    made = text.split()
    if made[0] in common:
        made[0] = made[0].capitalize()
    for at in range(1, len(made)):
        chance = draw.random()
        if chance < 0.08:
            made[at - 1] += draw.choice((",", ",", ";", ":", " -", "."))
        elif chance < 0.1:
            made[at] = f"({made[at]})"
        elif chance < 0.12 and made[at] in common:
            made[at] = f'"{made[at].capitalize()}"'
        elif chance < 0.16 and made[at] in common:
            made[at] = made[at].capitalize()
        elif chance < 0.18:
            made[at] = made[at].upper()
        elif chance < 0.2:
            made[at] = str(draw.randint(1, 2000))
    return " ".join(made)
