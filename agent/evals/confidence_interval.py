"""Confidence interval of a proportion."""

from __future__ import annotations

import math
import statistics


def wilson(share: float, cases: float) -> tuple[float, float]:
    """95 % confidence interval of the proportion ``share``, observed in ``cases`` cases.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = (share + z**2 / (2 * cases)) / (1 + z**2 / cases)
    half = z / (1 + z**2 / cases) * math.sqrt(share * (1 - share) / cases + z**2 / (4 * cases**2))
    return max(0.0, middle - half), min(1.0, middle + half)
