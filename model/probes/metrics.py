"""How well scores separate two groups of texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


def auc(wanted: Scores, others: Scores) -> float:
    """Probability that a wanted text scores above another one; ties count half."""
    _, inverse, counts = np.unique(np.concatenate([wanted, others]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[: len(wanted)].sum() - len(wanted) * (len(wanted) + 1) / 2
    return float(wins / (len(wanted) * len(others)))


def bound(others: Scores, share: float = 0.01) -> float:
    """Score that at most this share of the others exceed."""
    return float(np.sort(others)[::-1][int(share * len(others))])


def recall(wanted: Scores, others: Scores, share: float = 0.01) -> float:
    """Share of the wanted texts above the `bound` of the others."""
    return float((wanted > bound(others, share)).mean())
