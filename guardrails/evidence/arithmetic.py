"""Explains an amount by arithmetic on known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

P = TypeVar("P")
_CENT = Decimal("0.005")
"""Largest difference: amounts are rounded to cents."""
MOST_COUNT = Decimal(100)
_LARGEST = Decimal(10) ** 12


@dataclass(frozen=True)
class Operand(Generic[P]):
    """A known number and its place."""

    number: Decimal
    place: P


def composed(amount: Decimal, operands: Sequence[Operand[P]]) -> tuple[str, tuple[P, ...]] | None:
    """How two numbers, or all of them, yield an amount, and their places; None if they don't.

    A product has a whole number of at most MOST_COUNT as one factor. A percentage is one of 1 to 99.
    """
    usable = [one for one in operands if 0 < abs(one.number) < _LARGEST]
    for one in usable:
        for other in usable:
            if how := _made(amount, one.number, other.number):
                return how, (one.place, other.place)
    if len(usable) > 2 and _same(sum((one.number for one in usable), Decimal(0)), amount):
        return f"the sum of {len(usable)} numbers", tuple(one.place for one in usable)
    return None


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
