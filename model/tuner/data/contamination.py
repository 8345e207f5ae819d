"""Finds training rows that resemble benchmark cases (contamination)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.tuner.data.measured import Measured, Signature, signature_of
from model.tuner.data.row import Row, content_text
from model.tuner.data.words import grams, index, min_hash, shingles, words_of

SIMILAR = 0.7
LEAST_WORDS = 5
"""Shorter messages ("Yes, please.") are compared only together with the user's other messages."""


@dataclass(frozen=True)
class Match:
    """A row's resemblance to a case: the case's benchmark and place, and how they match ("8 words" or "similar")."""

    measured: str
    place: str
    how: str


class Watch:
    """Compares rows with the cases of benchmarks."""

    def __init__(self, sets: Sequence[Measured], similar: float = SIMILAR) -> None:
        self._similar = similar
        self._grams: dict[tuple[str, ...], tuple[str, str]] = {}
        self._index = index(similar)
        self._sketches: list[tuple[Any, str, str]] = []
        self._functions: dict[Signature, set[str]] = {}
        for each in sets:
            for signature in each.functions:
                self._functions.setdefault(signature, set()).add(each.name)
            for case in each.cases:
                for words in _compared(case.texts):
                    self._add(words, each.name, case.place)
                for text in case.texts:
                    self._grams |= dict.fromkeys(grams(words_of(text)), (each.name, case.place))

    def _add(self, words: list[str], name: str, place: str) -> None:
        sketch = min_hash(shingles(words))
        self._index.insert(len(self._sketches), sketch)
        self._sketches.append((sketch, name, place))

    def match(self, row: Row) -> Match | None:
        """The first case found that the row resembles; None if there is none."""
        texts = [content_text(message) for message in row["messages"] if message["role"] == "user"]
        for text in texts:
            for gram in grams(words_of(text)):
                if gram in self._grams:
                    return Match(*self._grams[gram], how="8 words")
        for words in _compared(texts):
            sketch = min_hash(shingles(words))
            for number in self._index.query(sketch):
                other, name, place = self._sketches[number]
                if other.jaccard(sketch) >= self._similar:
                    return Match(name, place, "similar")
        return None

    def shared(self, row: Row) -> Iterator[tuple[str, str]]:
        """Benchmark and name of each function in the row that a benchmark also has, with the same parameter names."""
        for tool in row.get("tools") or ():
            for name in self._functions.get(signature_of(tool["function"]), ()):
                yield name, tool["function"]["name"]


@dataclass(frozen=True)
class Decontaminated:
    """Remaining rows, removed rows (``taken``), and numbers of remaining rows by benchmark and shared function."""

    rows: tuple[Row, ...]
    taken: tuple[tuple[Row, Match], ...]
    shared: Counter[tuple[str, str]]


def decontaminated(
    rows: Sequence[Row], sets: Sequence[Measured], told: Callable[[int], None] = lambda done: None
) -> Decontaminated:
    """Removes rows that resemble a case of a benchmark.

    Args:
        rows: any rows.
        sets: the benchmarks.
        told: called with the number of rows compared so far.
    """
    watch = Watch(sets)
    kept: list[Row] = []
    taken: list[tuple[Row, Match]] = []
    shared: Counter[tuple[str, str]] = Counter()
    for number, row in enumerate(rows, 1):
        found = watch.match(row)
        if found is None:
            kept.append(row)
            shared.update(set(watch.shared(row)))
        else:
            taken.append((row, found))
        told(number)
    return Decontaminated(tuple(kept), tuple(taken), shared)


def _compared(texts: Sequence[str]) -> Iterator[list[str]]:
    """Words of all messages together, and of each message that is long enough to compare alone."""
    each_words = [words_of(text) for text in texts]
    whole = [word for words in each_words for word in words]
    if whole:
        yield whole
    if len(each_words) > 1:
        yield from (words for words in each_words if len(words) >= LEAST_WORDS)
