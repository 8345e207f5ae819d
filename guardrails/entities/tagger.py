"""A linear-chain conditional random field over hashed features (Lafferty et al. 2001), decoded by Viterbi."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from guardrails.entities.features import BUCKETS, WINDOW, WordColumns, buckets
from guardrails.entities.lexicon import Lexicon
from guardrails.entities.segments import segments
from guardrails.entities.tokens import tokens
from guardrails.finders.pattern import Finding

DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "entities.safetensors"
ENTITIES = (
    "person",
    "title",
    "organization",
    "address",
    "place",
    "postal_code",
    "nationality",
    "date",
    "age",
    "local_phone",
    "document",
)
"""Kinds of entities, in the order of the tags: outside, then beginning and inside of each kind."""
TAGS = 1 + 2 * len(ENTITIES)
_AT_ONCE = 64
"""Segments whose features are computed together."""
_ROWS = 2048
"""Tokens whose features are in memory together."""
LEAN = 0.75
"""Logits subtracted from the tag "outside", which raises recall: the first multiple of 0.25 at which recall reaches
precision on composed sentences."""
LONGEST_TOKEN = 60
"""Longer words are part of no entity."""


@dataclass(frozen=True)
class Tagger:
    """Weights of the tagger.

    Attributes:
        weights: int8 (BUCKETS, TAGS).
        scale: value of one step of the weights.
        transitions: float32 (TAGS, TAGS), scores from a tag to the next.
        lexicon: the word lists.
    """

    weights: npt.NDArray[np.int8]
    scale: float
    transitions: npt.NDArray[np.float32]
    lexicon: Lexicon
    _columns: WordColumns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_columns", WordColumns(self.lexicon))

    def find(
        self, text: str, start: int = 0, before: int | None = None, taken: Sequence[Finding] = ()
    ) -> Iterator[Finding]:
        """Entities in the segments from ``start`` on, a segment's beginning, that begin before ``before``.

        Args:
            taken: other findings in these segments, in order. Those that lie within one segment are part of no entity.
        """
        end = len(text) if before is None else before
        places = (_Places.of(text, *segment, taken) for segment in segments(text, start) if segment[0] < end)
        while some := [*islice(places, _AT_ONCE)]:
            every = self.tags([[text[a:b] for a, b in one.spans] for one in some], [one.taken for one in some])
            for one, tags in zip(some, every, strict=True):
                yield from (found for found in _entities(text, one.spans, tags) if found.start < end)

    def tags(
        self, segments_words: Sequence[Sequence[str]], taken: Sequence[Sequence[int]] = ()
    ) -> Iterator[Sequence[int]]:
        """The best tags of each segment's words. ``taken``: by segment, the words that are outside of entities."""
        matrices = [self._columns.of(words) for words in segments_words]
        every = self.emissions(np.concatenate(matrices)) if matrices else np.zeros((0, TAGS), np.float32)
        at = 0
        for index, matrix in enumerate(matrices):
            scores = every[at : at + len(matrix) - 2 * WINDOW]
            if taken and taken[index]:
                scores[taken[index], 0] += _CERTAIN
            yield self._best(scores)
            at += len(matrix)

    def emissions(self, matrix: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
        """Scores of the tags of each token, but for the first and last ``WINDOW`` rows. Shape (tokens, TAGS)."""
        scores = np.empty((len(matrix) - 2 * WINDOW, TAGS), np.float32)
        for at in range(0, len(scores), _ROWS):
            found = buckets(matrix[at : at + _ROWS + 2 * WINDOW])
            scores[at : at + len(found)] = self.weights[found].sum(axis=1, dtype=np.int32)
        scores *= np.float32(self.scale)
        scores[:, 0] -= LEAN
        return scores

    def _best(self, scores: npt.NDArray[np.float32]) -> Sequence[int]:
        """Viterbi: the tags with the highest sum of scores and transitions."""
        if not len(scores):
            return ()
        total, back = scores[0], []
        for row in scores[1:]:
            candidates = total[:, None] + self.transitions
            best = candidates.argmax(axis=0)
            back.append(best)
            total = candidates[best, _EVERY] + row
        tag = int(total.argmax())
        path = [tag]
        for best in reversed(back):
            tag = int(best[tag])
            path.append(tag)
        return path[::-1]


_EVERY = np.arange(TAGS)
_CERTAIN = np.float32(1000)


@dataclass(frozen=True)
class _Places:
    """The tokens of a segment, and which of them other findings cover."""

    spans: list[tuple[int, int]]
    taken: list[int]

    @classmethod
    def of(cls, text: str, start: int, end: int, taken: Sequence[Finding]) -> _Places:
        spans = [*tokens(text, start, end)]
        first = bisect_left(taken, start, key=lambda one: one.start)
        inside = [one for one in takewhile(lambda one: one.start < end, taken[first:]) if one.end <= end]
        if not inside:
            return cls(spans, [])
        covered = (any(one.start < b and a < one.end for one in inside) for a, b in spans)
        return cls(spans, [at for at, is_covered in enumerate(covered) if is_covered])


def _entities(text: str, spans: Sequence[tuple[int, int]], tags: Sequence[int]) -> Iterator[Finding]:
    start = 0
    for at, tag in enumerate((*tags, 0)):
        if at > start and (tag == 0 or tag % 2 or (tag - 1) // 2 != (tags[start] - 1) // 2):
            yield from _entity(text, spans[start:at], ENTITIES[(tags[start] - 1) // 2])
            start = at
        if not tag:
            start = at + 1


def _entity(text: str, spans: Sequence[tuple[int, int]], kind: str) -> Iterator[Finding]:
    """The finding that tokens of the same entity make, without signs at its end and long words.

    A mark or joiner at its beginning belongs to the blank that ends the segment before.
    """
    first, end = 0, len(spans)
    while first < end and unicodedata.category(text[spans[first][0]]) in _JOINING:
        first += 1
    while first < end and not (text[spans[end - 1][1] - 1].isalnum() or text[slice(*spans[end - 1])] in _LAST):
        end -= 1
    spans = spans[first:end]
    letters = any(sign.isalnum() for a, b in spans for sign in text[a:b])
    if letters and all(b - a <= LONGEST_TOKEN for a, b in spans):
        yield Finding(spans[0][0], spans[-1][1], kind)


_JOINING = frozenset({"Mn", "Mc", "Me", "Cf"})
"""Categories of signs that join the one before."""
_LAST = frozenset(".)")
"""Signs that an entity may end with."""


def may_follow(tag: int, after: int) -> bool:
    """Whether a tag may follow another: an inside only the beginning or inside of its own entity."""
    return tag == 0 or tag % 2 == 1 or after in (tag, tag - 1)


@cache
def load_tagger(path: Path = DEFAULT_WEIGHTS) -> Tagger:
    """Loads the tagger. Raises OSError or ValueError if the file is missing or invalid; the rail then blocks."""
    tensors = load_file(path)
    weights, transitions = tensors["weights"], tensors.get("transitions", np.zeros(0))
    if weights.shape != (BUCKETS, TAGS) or weights.dtype != np.int8 or transitions.shape != (TAGS, TAGS):
        raise ValueError(f"{path}: not a tagger of entities: weights {weights.dtype} {weights.shape}")
    return Tagger(weights, float(tensors["scale"][0]), transitions, Lexicon(tensors["words"], tensors["lists"]))
