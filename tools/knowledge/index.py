"""Ranks passages for a text by BM25, in the language that it is written in."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s

from tools.knowledge.documents import Passage
from tools.knowledge.words import terms

QUERY = 0.8
"""Weight of a query beside the question behind it: a small model often writes a heading that it remembers."""


class PassageIndex:
    """BM25 index of passages in one language."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._retriever = bm25s.BM25()
        texts = [terms(f"{passage.document} {passage.heading} {passage.text}") for passage in passages]
        self.vocabulary = {term for text in texts for term in text}
        self._letters = {letter for term in self.vocabulary for letter in term}
        if texts:  # of none, it would compute means
            self._retriever.index(texts, show_progress=False)

    def known(self, query: Sequence[str]) -> list[str]:
        """The query's terms that some passage has."""
        return [term for term in query if term in self.vocabulary]

    def in_common(self, text: str) -> int:
        """How many terms and different letters of a text the passages have: the more, the rather it is their language.
        Of a short text, no term may be known, but its letters are."""
        return len(self.known(terms(text))) + len(self._letters.intersection(text.lower()))

    def scores(self, query: Sequence[str]) -> list[float]:
        """Scores of all passages, in order."""
        known = self.known(query)
        return [float(score) for score in self._retriever.get_scores(known)] if known else [0.0] * len(self.passages)

    def shares(self, query: Sequence[str]) -> list[float]:
        """Scores of all passages, as shares of the best one."""
        scores = self.scores(query)
        most = max(scores, default=0.0) or 1.0
        return [score / most for score in scores]


class Translations:
    """Indexes of the same passages in several languages, the original first."""

    def __init__(self, original: PassageIndex, *others: PassageIndex) -> None:
        self.original = original
        self._all = (original, *others)

    def of(self, text: str) -> PassageIndex:
        """The index in a text's language; if it can't be told, the original."""
        return max(self._all, key=lambda index: index.in_common(text))

    def best(self, query: str, asked: str, count: int) -> list[Passage]:
        """At most ``count`` passages with a term of the query or of the question behind it, best first, in the
        question's language. The question's length does not matter. The best passage of each is among the first three.
        """
        ranks = [self.of(text).shares(terms(text)) for text in (query, asked)]
        scores = [QUERY * one + other for one, other in zip(*ranks, strict=True)]
        both, own = _ranked(scores), [best for shares in ranks for best in _ranked(shares)[:1]]
        shown = self.of(asked or query).passages
        return [shown[at] for at in [*dict.fromkeys([*both[:1], *own, *both])][:count]]


def _ranked(scores: Sequence[float]) -> list[int]:
    """Indices of the passages that have a score, best first."""
    return [at for at in sorted(range(len(scores)), key=lambda at: -scores[at]) if scores[at] > 0]
