"""Drafts tokens by copying from the sequence itself: prompt lookup decoding (Saxena 2023).

Agents repeat their input: order numbers, addresses, names, their own calls. Where the last tokens occurred
before, the tokens that followed are a draft of what comes next. Such a draft is nearly free, and the model
verifies all of it in one step.
"""

from __future__ import annotations

from collections.abc import Sequence

SIZES = (3, 2)
"""Lengths of the n-grams to look up, the longest first."""

LONGEST = 16
"""Maximum number of tokens of a draft."""

_FIRST, _PAUSE, _LONGEST_PAUSE = 4, 4, 64


class Drafter:
    """Drafts tokens for one sequence, which may only grow.

    The draft length adapts: it doubles when a whole draft was accepted and halves when none of it was. When it reaches
    zero, drafting pauses: for a few tokens at first, and longer after each further failure.
    """

    def __init__(self) -> None:
        # n-gram to the position after its latest occurrence, without the sequence's own end
        self._follows: dict[int, dict[tuple[int, ...], int]] = {size: {} for size in SIZES}
        self._indexed = 0
        self._length = _FIRST
        self._pause = _PAUSE
        self._resume = 0  # length of the sequence at which a pause ends

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """Draft of what follows ``tokens``, at most ``most`` tokens; O(1) per token since the last call."""
        if len(tokens) < self._resume or most <= 0:
            return []
        self._index(tokens)
        for size in SIZES:
            place = self._follows[size].get(tuple(tokens[-size:]))
            if place is not None:
                return self._copy(tokens, place, min(most, self._length))
        return []

    def learn(self, drafted: int, accepted: int, tokens: int) -> None:
        """Records how many drafted tokens were accepted; ``tokens``: the sequence's present length."""
        if accepted:
            self._pause = _PAUSE
        if accepted == drafted:
            self._length = min(2 * self._length, LONGEST)
        elif accepted:
            self._length = accepted + 1
        elif self._length > 1:
            self._length //= 2
        else:
            self._resume = tokens + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _index(self, tokens: Sequence[int]) -> None:
        for size, follows in self._follows.items():
            first = max(self._indexed, size)
            window = tokens[first - size : len(tokens) - 1]
            grams = zip(*(window[skip:] for skip in range(size)), strict=False)
            follows.update(zip(grams, range(first, len(tokens)), strict=False))
        self._indexed = max(self._indexed, len(tokens))

    def _copy(self, tokens: Sequence[int], place: int, count: int) -> list[int]:
        copied = list(tokens[place : place + count])
        while len(copied) < count:  # the sequence repeats itself, so the draft does too
            copied.append(copied[len(copied) - (len(tokens) - place)])
        return copied
