"""Compares two models' scores of the same answers: loss per token, and share of exact answers.

Suffixes: R conversations, K the four sums of `_sums`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from model.tuner.data.overview import KINDS
from model.tuner.evaluation import Scored
from model.tuner.gate.figure import Allowance, Figure, Interval

ALL = "all"
DRAWS = 2000
LEAST = 20
"""Minimum number of conversations for an interval; with fewer, it would be unreliable."""

KIND_NAMES = {kind: kind.lower().replace(" ", "_") for kind in (ALL, *KINDS)}
NAMES = tuple(f"{measure}_{kind}" for kind in KIND_NAMES.values() for measure in ("loss", "exact"))
"""Names of all possible figures."""

Pair = tuple[Scored, Scored]
Floats = NDArray[np.float64]


def compare_answers(old: Sequence[Scored], new: Sequence[Scored], allowance: Allowance, seed: int) -> list[Figure]:
    """Figures ``loss_*`` and ``exact_*`` for all answers together, and for each kind of answer.

    The intervals are paired: each bootstrap sample draws whole conversations with replacement and gives the difference
    between the models on them. Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), the percentile
    interval.

    Args:
        old, new: the same answers, scored by both models.
        allowance: tolerances, in nats for losses and in 0..1 for shares.
        seed: seed of the samples.
    """
    pairs = list(zip(old, new, strict=True))
    assert all((a.row, a.kind, a.tokens) == (b.row, b.kind, b.tokens) for a, b in pairs), (
        "both models must have scored the same answers"
    )
    figures: list[Figure] = []
    for kind, name in KIND_NAMES.items():
        chosen = [pair for pair in pairs if kind in (ALL, pair[0].kind)]
        if chosen:
            figures += _of_kind(name, chosen, allowance, np.random.default_rng(seed))
    return figures


def _of_kind(kind: str, pairs: Sequence[Pair], allowance: Allowance, random: np.random.Generator) -> Iterator[Figure]:
    old_RK, new_RK = (_sums([pair[side] for pair in pairs]) for side in (0, 1))
    count = len(old_RK)
    draws = [random.integers(0, count, count) for _ in range(DRAWS)] if count >= LEAST else []
    loss, tokens, exact, answers = range(4)
    for name, top, bottom, higher in (("loss", loss, tokens, False), ("exact", exact, answers, True)):
        weight_R = old_RK[:, bottom]
        old, new = (float(sums_RK[:, top].sum() / weight_R.sum()) for sums_RK in (old_RK, new_RK))
        interval = _interval(new_RK[:, top] - old_RK[:, top], weight_R, draws) if draws else None
        figure = f"{name}_{kind}"
        yield Figure(figure, old, new, interval, higher, allowance.of(figure), len(pairs))


def _sums(answers: Sequence[Scored]) -> Floats:
    """Sums by conversation, (R, K): loss, tokens, exact answers, answers."""
    rows: dict[int, list[float]] = {}
    for answer in answers:
        sums = rows.setdefault(answer.row, [0.0] * 4)
        for place, value in enumerate((answer.loss, answer.tokens, answer.exact, 1)):
            sums[place] += value
    return np.array(list(rows.values()))


def _interval(difference_R: Floats, weight_R: Floats, draws: Sequence[NDArray[np.int64]]) -> Interval:
    found = [difference_R[drawn].sum() / weight_R[drawn].sum() for drawn in draws]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
