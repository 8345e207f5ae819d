"""Guesses what a sequence copies from itself: prompt lookup decoding (Saxena 2023).

An agent repeats what it was told: order numbers, addresses, names, its own calls. Where the last tokens
occurred before, what followed them then is a guess at what follows now. It costs nothing to make, and the
model checks all of it in one step.
"""

from __future__ import annotations

from collections.abc import Sequence

SIZES = (3, 2)
"""Tokens that must have occurred before; the longer match is asked first."""

LONGEST = 16
"""Most tokens of one guess."""

_FIRST, _PAUSE, _LONGEST_PAUSE = 4, 4, 64


class Drafter:
    """Guesses for one sequence, which only ever grows.

    The length of guesses adapts: it doubles when all came true and halves when none did. Where that leaves
    nothing there is a pause, of a few tokens first and longer each time that guessing failed again.
    """

    def __init__(self) -> None:
        # n-gram to the place that follows its latest occurrence; the sequence's own end is not among them.
        self._follows: dict[int, dict[tuple[int, ...], int]] = {size: {} for size in SIZES}
        self._indexed = 0
        self._length = _FIRST
        self._pause = _PAUSE
        self._resume = 0  # tokens of the sequence at which a pause is over

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """What may follow ``tokens``, at most ``most`` of them; O(1) for each token since the last call."""
        if len(tokens) < self._resume or most <= 0:
            return []
        self._index(tokens)
        for size in SIZES:
            place = self._follows[size].get(tuple(tokens[-size:]))
            if place is not None:
                return self._copy(tokens, place, min(most, self._length))
        return []

    def learn(self, drafted: int, accepted: int, tokens: int) -> None:
        """Takes in how a guess went, in a sequence that now has so many tokens."""
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
        while len(copied) < count:  # the sequence repeats itself, and so does the guess
            copied.append(copied[len(copied) - (len(tokens) - place)])
        return copied
