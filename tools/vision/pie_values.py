"""Values of a pie's slices: numbers printed at them or in the legend, where these agree with the angles."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tools.vision.numerals import Numeral, numbers_in, numeral

AGREES = 0.015
"""Largest difference between a printed and a measured share of the whole."""
PROPORTIONAL = 0.07
"""Largest relative difference between printed values and slices, if the values are those of the slices."""
DASH = re.compile(r"\s+[-–—]\s+")


def spaced(text: str) -> str:
    """The text with a colon for a dash between a name and a number, which is no sign of the number."""
    return DASH.sub(": ", text)


def name_and_values(text: str) -> tuple[str, list[Numeral]]:
    """A label's text before the last colon that a number follows, and the numbers after it; else "" and all numbers.

    >>> name_and_values("2012: 22.02%")
    ('2012', [Numeral(value=22.02, unit='%')])
    """
    found = re.fullmatch(r"(.+)[:：](.*\d.*)", text)
    return (found[1].strip(), numbers_in(found[2])) if found else ("", numbers_in(text))


def counts_up(texts: Sequence[str]) -> bool:
    """Whether texts are numbers that follow each other, such as years: names of slices, not their values."""
    found = [numeral(text) for text in texts]
    values = [number.value for number in found if number and not number.unit]
    return 2 < len(values) == len(texts) and set(np.diff(values)) <= {1.0, 1.0 - len(values)}


def values_at(texts: Sequence[Sequence[str]], entries: Sequence[str]) -> list[list[Numeral]]:
    """Numbers at each slice that may be its value, without those that are its name.

    Args:
        texts: texts at each slice
        entries: its text in the legend, which isn't a value if it is a number as those of all slices are
    """
    names = [number if (number := numeral(entry)) and not number.unit else None for entry in entries]
    alone = [lines[0] if len(lines) == 1 else "" for lines in texts]
    if counts_up(alone):
        texts = [[] for _ in texts]
    found = [[number for text in lines for number in name_and_values(text)[1]] for lines in texts]
    if not all(names):
        values = [name_and_values(entry)[1] for entry in entries]
        return [own + numbers for own, numbers in zip(values, found, strict=True)]
    return [[number for number in row if number != name] for row, name in zip(found, names, strict=True)]


def whole_of(numbers: Sequence[Sequence[Numeral]], shares: Sequence[float]) -> float | None:
    """The sum of printed values: the number by which they are proportional to the slices; None if they aren't.

    Args:
        numbers: numbers printed at each slice or in its legend entry
        shares: share of the whole that each slice is measured to have
    """
    ratios = []
    for found, share in zip(numbers, shares, strict=True):
        ratios += [number.value / share for number in found if number.unit != "%" and number.value > 0]
    if not ratios:
        return None
    best = max(ratios, key=lambda ratio: sum(abs(other / ratio - 1) < PROPORTIONAL for other in ratios))
    agreed = [ratio for ratio in ratios if abs(ratio / best - 1) < PROPORTIONAL]
    return float(np.median(agreed)) if len(agreed) >= max(2, 0.6 * len(shares)) else None


def printed_value(found: Sequence[Numeral], share: float, whole: float | None, agrees: float) -> Numeral | None:
    """The printed value of a slice if ``whole`` is known, else its printed percentage; None if there is none.

    Args:
        found: numbers printed at the slice
        share: its measured share of the whole
        whole: the sum of printed values
        agrees: largest difference between a printed and the measured share
    """
    if whole is None:
        return next(iter(percentages(found, share, agrees)), None)
    for number in found:
        if number.unit != "%" and abs(number.value / whole - share) <= agrees + 0.05 * share:
            return number
    return None


def percentages(found: Sequence[Numeral], share: float, agrees: float) -> list[Numeral]:
    """Printed percentages that agree with a measured share."""
    return [number for number in found if number.unit == "%" and abs(number.value / 100 - share) <= agrees]


def measured_value(share: float, whole: float | None) -> float:
    """The measured value, or the percentage without a ``whole``."""
    return round(100 * share, 2) if whole is None else round(share * whole, 4)
