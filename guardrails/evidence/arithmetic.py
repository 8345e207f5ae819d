"""Explains an amount by arithmetic on known numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

P = TypeVar("P")
_CENT = Decimal("0.005")
"""Largest difference: amounts are rounded to cents."""
_NEAR = _CENT * 2
MOST_COUNT = Decimal(100)
_LARGEST = Decimal(10) ** 12


@dataclass(frozen=True)
class Operand(Generic[P]):
    """A known number and its place."""

    number: Decimal
    place: P


class Pool(Generic[P]):
    """Known numbers, sorted once, so that explaining an amount takes a search per number and not per pair."""

    def __init__(self, operands: Sequence[Operand[P]]) -> None:
        self._usable = [one for one in operands if 0 < abs(one.number) < _LARGEST]
        self._order = sorted(range(len(self._usable)), key=lambda at: self._usable[at].number)
        self._sorted = [self._usable[at].number for at in self._order]
        self._sum = sum(self._sorted, Decimal(0))

    def composed(self, amount: Decimal) -> tuple[str, tuple[P, ...]] | None:
        """How two numbers, or all of them, yield an amount, and their places; None if they don't.

        A product has a whole number of at most MOST_COUNT as one factor. A percentage is one of 1 to 99.
        """
        if abs(amount) >= _LARGEST * MOST_COUNT:
            return None
        for one in self._usable:
            for at in sorted(self._candidates(amount, one.number)):
                other = self._usable[at]
                if how := _made(amount, one.number, other.number):
                    return how, (one.place, other.place)
        if len(self._usable) > 2 and _same(self._sum, amount):
            return f"the sum of {len(self._usable)} numbers", tuple(one.place for one in self._usable)
        return None

    def _candidates(self, amount: Decimal, one: Decimal) -> set[int]:
        """Indices of the numbers that may yield the amount with one number; `_made` checks them exactly."""
        ratio, near = amount / one, _NEAR / abs(one)
        ranges = [(amount - one, _NEAR), (one - amount, _NEAR), (ratio, near)]
        if one >= 1:
            ranges += [(ratio * 100, near * 100), (100 - ratio * 100, near * 100)]
        return {
            at
            for middle, wide in ranges
            for at in self._order[bisect_left(self._sorted, middle - wide) : bisect_right(self._sorted, middle + wide)]
        }


def _made(amount: Decimal, one: Decimal, other: Decimal) -> str | None:
    if one != other and _same(one + other, amount):
        return f"the sum of {one:f} and {other:f}"
    if one > other and _same(one - other, amount):
        return f"the difference of {one:f} and {other:f}"
    if 1 < other <= MOST_COUNT and other == other.to_integral_value() and _same(one * other, amount):
        return f"{other:f} times {one:f}"
    if 0 < other < 100 and one >= 1:
        if _same(one * other / 100, amount):
            return f"{other:f}% of {one:f}"
        if _same(one * (100 - other) / 100, amount):
            return f"{one:f} less {other:f}%"
    return None


def _same(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) < _CENT
