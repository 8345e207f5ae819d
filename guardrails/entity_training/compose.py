"""Composes marked sentences from templates, and reads them as the tagger does."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import regex

from guardrails.entities.segments import segments
from guardrails.entities.tagger import ENTITIES
from guardrails.entities.tokens import tokens
from guardrails.entity_training.noise import german, noise, scattered
from guardrails.entity_training.sources import Pieces, templates
from guardrails.entity_training.values import Values

LANGUAGES = {"en": 0.74, "de": 0.09, "fr": 0.06, "es": 0.06, "zh": 0.05}
PLAIN = 0.45
"""Share of sentences that mark nothing."""
NOISE = 0.5
"""Share of these, in English and German, that are of random words."""
SCATTERED = 0.3
"""Share of the marked English sentences that are of random words."""
_WORD = regex.compile(r"(?<!\p{L}['’]?)\p{L}+")
_SLOT = regex.compile(r"\{(\w+)(?::([^}]+))?\}")
"""A slot, or an entity with its text: ``{title:Herr}``."""


@dataclass(frozen=True)
class Example:
    """Tokens of a segment and their tags."""

    words: tuple[str, ...]
    tags: tuple[int, ...]


def examples(count: int, seed: int, common: Sequence[str], *, held_out: bool | None = False) -> Iterator[Example]:
    """Composed segments.

    Args:
        common: frequent words.
        held_out: use only the templates that are otherwise left out, every twelfth; None: use all.
    """
    draw = random.Random(seed)
    languages, weights = [*LANGUAGES], [*LANGUAGES.values()]
    made = 0
    while made < count:
        language = draw.choices(languages, weights)[0]
        for example in read_pieces(_text(Values(language, draw), draw, common, held_out)):
            made += 1
            yield example


@cache
def chosen(name: str, held_out: bool | None) -> list[str]:
    return [one for at, one in enumerate(templates(name)) if held_out in (None, at % 12 == 5)]


def _text(values: Values, draw: random.Random, common: Sequence[str], held_out: bool | None) -> Pieces:
    pieces: Pieces = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        plain = draw.random() < PLAIN
        name = f"{values.language}_plain" if plain else values.language
        if plain and values.language == "en" and draw.random() < NOISE:
            made: Pieces = [(noise(draw, common), None)]
        elif plain and values.language == "de" and draw.random() < NOISE:
            made = [(german(draw), None)]
        elif not plain and values.language == "en" and draw.random() < SCATTERED:
            made = _filled(scattered(draw, common), values)
        else:
            made = _filled(draw.choice(chosen(name, held_out)), values)
        if pieces:
            ended = (pieces[-1][0] or pieces[-2][0])[-1:] in tuple(".!?。？！,:;>\n")
            pieces.append((draw.choice((" ", " ", " ", "\n") if ended else ("\n", "\n\n", ". ", "; ")), None))
        pieces += made
    pieces = [(text if kind else _capitalised(text, draw), kind) for text, kind in pieces]
    chance = draw.random()
    if chance < 0.1:
        return [(text.lower(), kind) for text, kind in pieces]
    if chance < 0.13:
        return [(text.upper(), kind) for text, kind in pieces]
    return pieces


def _capitalised(text: str, draw: random.Random) -> str:
    """Some texts with each word in capitals, as in a heading, and some with one such word."""
    chance = draw.random()
    if chance < 0.05:
        return str(_WORD.sub(lambda word: str(word[0]).capitalize(), text))
    if chance < 0.2 and (found := [*_WORD.finditer(text)]):
        word = draw.choice(found)
        return f"{text[: word.start()]}{word[0].capitalize()}{text[word.end() :]}"
    return text


def _filled(template: str, values: Values) -> Pieces:
    pieces: Pieces = []
    at = 0
    for slot in _SLOT.finditer(template):
        filled = [(slot[2], slot[1])] if slot[2] else values.of(slot[1])
        pieces += [(template[at : slot.start()], None), *filled]
        at = slot.end()
    return [*pieces, (template[at:], None)]


def read_pieces(pieces: Pieces) -> Iterator[Example]:
    """Segments, tokens and tags of a composed text."""
    text = ""
    marked: list[tuple[int, int, str]] = []
    for part, entity in pieces:
        marked += [(len(text), len(text) + len(part), entity)] if entity else []
        text += part
    for segment in segments(text):
        words, tags, last = [], [], None
        for begin, end in tokens(text, *segment):
            here = next((one for one in marked if one[0] <= begin < one[1]), None)
            words.append(text[begin:end])
            tags.append(0 if here is None else 1 + 2 * ENTITIES.index(here[2]) + (here is last))
            last = here
        if words:
            yield Example(tuple(words), tuple(tags))
