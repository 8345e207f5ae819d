"""Values of a pie's slices: numbers printed at them or in the legend, where these agree with the angles."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tools.vision.numerals import Numeral

AGREES = 0.015
"""Largest difference between a printed and a measured share of the whole."""
PROPORTIONAL = 0.07
"""Largest relative difference between printed values and slices, if the values are those of the slices."""
DASH = re.compile(r"\s+[-–—]\s+")


def spaced(text: str) -> str:
    """The text with a colon for a dash between a name and a number, which is no sign of the number."""
    return DASH.sub(": ", text)


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
