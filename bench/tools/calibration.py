"""Calibration of a model's confidence: expected calibration error over bins of equal width.

Source: Guo et al., "On Calibration of Modern Neural Networks" (2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class Point:
    """An answer: its confidence (0 to 1), whether it is right, and its weight."""

    confidence: float
    right: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence.

    Attributes:
        place: index of the bin, which begins at the confidence ``place / BINS``.
        share: share of all answers.
        confidence, right: means over the bin's answers.
    """

    place: int
    share: float
    confidence: float
    right: float


def reliability(points: Sequence[Point]) -> list[Bin]:
    """The bins that contain answers, in order of confidence."""
    total = sum(point.weight for point in points)
    found = []
    for place in range(BINS):
        inside = [point for point in points if _place(point) == place]
        weight = sum(point.weight for point in inside)
        if weight:
            confidence = sum(point.weight * point.confidence for point in inside) / weight
            right = sum(point.weight * point.right for point in inside) / weight
            found.append(Bin(place, weight / total, confidence, right))
    return found


def _place(point: Point) -> int:
    return min(int(point.confidence * BINS), BINS - 1)


def error(bins: Sequence[Bin]) -> float:
    """Mean distance of confidence and share of right answers, weighted by the bins' shares."""
    return sum(each.share * abs(each.right - each.confidence) for each in bins)


def chance(points: Sequence[Point]) -> float:
    """The error that a perfectly calibrated model is expected to show with as few answers: the mean deviation of each
    bin's share of right answers, by the normal approximation."""
    total = sum(point.weight for point in points)
    found = 0.0
    for each in reliability(points):
        weights = [point.weight for point in points if _place(point) == each.place]
        spread = each.confidence * (1 - each.confidence) * sum(weight**2 for weight in weights)
        found += math.sqrt(2 * spread / math.pi) / total
    return found
