"""Token masks of a step's rows as packed bits, computed in parallel to the forward pass.

Most masks take microseconds, but one for a new state of the grammar's lexer takes up to milliseconds. A
helper thread computes them while the runner works; both release the interpreter lock meanwhile.
Suffixes: N rows of logits, M rows with a mask, V vocabulary, W = V / 32 words, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Masks:
    """Masks of one step.

    Attributes:
        words_MW: uint32, C-contiguous. Bit ``t % 32`` of word ``t // 32`` is set if token ``t`` may come next.
        place_N: int32; the row of ``words_MW`` for each row of logits, -1 for none.
    """

    words_MW: Words
    place_N: NDArray[np.int32]

    @cached_property
    def free_N(self) -> list[bool]:
        """For each row, whether more than one token may come next."""
        counts_M = np.bitwise_count(self.words_MW).sum(-1, dtype=np.int64)
        return [place < 0 or bool(counts_M[place] > 1) for place in self.place_N.tolist()]

    def allows(self, row: int, token: int) -> bool:
        """Whether a token is allowed in a row of logits."""
        place = self.place_N[row]
        return place < 0 or bool(self.words_MW[place, token // 32] >> np.uint32(token % 32) & np.uint32(1))

    def allowed(self, row: int, vocabulary: int) -> NDArray[np.bool_]:
        """(V,) booleans: the tokens allowed in a row that has a mask."""
        assert self.place_N[row] >= 0, "the row has no mask"
        return unpack(self.words_MW[self.place_N[row]], vocabulary)


def unpack(words_W: Words, vocabulary: int) -> NDArray[np.bool_]:
    """(V,) booleans from packed words."""
    return np.unpackbits(words_W.view(np.uint8), count=vocabulary, bitorder="little").view(np.bool_)


class Constrained(Protocol):
    """Interface of a request whose next tokens a step samples."""

    @property
    def constrained(self) -> bool:
        """Whether a grammar restricts the tokens."""
        ...

    def constrain(self, drafts: Sequence[int], words_RW: Words) -> None:
        """Writes the mask of the next token and of the token after each draft."""
        ...


class MaskWriter:
    """Computes masks in its own thread, which starts with the first grammar.

    Args:
        vocabulary: V.
    """

    def __init__(self, vocabulary: int) -> None:
        self._width = -(-vocabulary // 32)
        self._thread = ThreadPoolExecutor(1, "masks")

    def begin(self, rows: Sequence[tuple[Constrained, Sequence[int]]]) -> Callable[[], Masks | None]:
        """Starts computing a step's masks. Call the result to wait for them; it returns None if no row has a mask.

        Args:
            rows: requests with their drafts: one row, and one more per draft.
        """
        if not any(subject.constrained for subject, _ in rows):
            return lambda: None
        return self._thread.submit(self._write, rows).result

    def _write(self, rows: Sequence[tuple[Constrained, Sequence[int]]]) -> Masks:
        counts = [(1 + len(drafts)) * subject.constrained for subject, drafts in rows]
        words_MW = np.empty((sum(counts), self._width), np.uint32)
        places: list[int] = []
        first = 0
        for (subject, drafts), count in zip(rows, counts, strict=True):
            if count:
                subject.constrain(drafts, words_MW[first : first + count])
                places += range(first, first + count)
                first += count
            else:
                places += [-1] * (1 + len(drafts))
        return Masks(words_MW, np.array(places, np.int32))
