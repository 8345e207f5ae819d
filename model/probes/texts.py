"""Loads the composed texts with their labels; the format is described in texts/README.md."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from model.probes.states import Place

FOLDER = Path(__file__).with_name("texts")
Axis = Literal["injection", "harm", "support"]
AXES: tuple[Axis, ...] = ("injection", "harm", "support")
NONE, OVERRIDE, UNSUPPORTED = "none", "override", "unsupported"
LABELS: dict[Axis, tuple[str, ...]] = {
    "injection": ("order", OVERRIDE, NONE),
    "harm": ("hate", "violence", "self_harm", "sexual", "illegal", "insult", NONE),
    "support": (UNSUPPORTED, NONE),
}
_MARK = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


@dataclass(frozen=True)
class Text:
    """A text to learn from or to measure with.

    Attributes:
        source: the composed texts' file, or the public set.
        label: one of the axis's `LABELS`.
        spans: character ranges [start, end) that deserve the label; empty: the whole text, unless it is `NONE`.
        place: where the text stands in a conversation.
        evidence: of a claim, the records before it.
    """

    source: str
    axis: Axis
    label: str
    text: str
    place: Place
    language: str = "en"
    spans: tuple[tuple[int, int], ...] = ()
    evidence: str = ""

    @property
    def wanted(self) -> bool:
        """Whether a probe of the axis should find it."""
        return self.label != NONE


def composed(seed: int = 0, folder: Path = FOLDER) -> list[Text]:
    """All composed texts, with their slots filled by the seed.

    A text of the axis ``injection`` stands in a tool's result, unless it is an `OVERRIDE` or the harmless form of one,
    which users write; a text of the axis ``harm`` is a user's message. Raises ValueError: a file is not as the README
    says.
    """
    found: list[Text] = []
    for path in sorted(folder.glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        try:
            found += _texts(path.stem, document, random.Random(f"{seed} {path.stem}"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {type(error).__name__}: {error}") from None
    return found


def _texts(source: str, document: dict[str, Any], chance: random.Random) -> list[Text]:
    axis, found = document["axis"], []
    labels = [label for label, _ in document["texts"]]
    for index, (label, written) in enumerate(document["texts"]):
        if label not in LABELS[axis]:
            raise ValueError(f"entry {index + 1}: no label {label!r} on the axis {axis}")
        # A harmless form follows the text that it is the neighbour of.
        kind = next((each for each in reversed(labels[: index + 1]) if each != NONE), label)
        place: Place = "result" if axis == "injection" and kind != OVERRIDE else "user"
        text, spans = marked(filled(written, document.get("slots", {}), chance))
        found.append(Text(source, axis, label, text, place, document["language"], spans))
    return found


def filled(text: str, slots: dict[str, list[str]], chance: random.Random) -> str:
    """A text with a random value of each slot that it names."""
    for name, values in slots.items():
        if f"{{{name}}}" in text:
            text = text.replace(f"{{{name}}}", chance.choice(values))
    return text


def marked(written: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A text without its marks ``[[…]]``, and the character ranges that they enclosed."""
    spans, removed = [], 0
    for match in _MARK.finditer(written):
        start = match.start() - removed
        spans.append((start, start + len(match[1])))
        removed += 4
    return _MARK.sub(r"\1", written), tuple(spans)
