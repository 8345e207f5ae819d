"""Converts measurements to rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from bench.agent.field import Case, Outcome, Sample
from bench.agent.subjects import AGAINST, SUBJECTS
from bench.rows import Row, spread_of

Outcomes = Mapping[Case, Outcome]
Figure = Callable[[Sample], float]
FIGURES: Mapping[str, tuple[str, Figure]] = {
    "cpu": ("µs", lambda sample: sample.cpu),
    "wall": ("µs", lambda sample: sample.wall),
    "bytes": ("bytes", lambda sample: sample.bytes),
}
SINGLE = 1
"""Calls per step in rows without a number of calls in their names."""


def rows(outcomes: Outcomes) -> list[Row]:
    """All rows: the slopes, then the step costs of each run length compared with the peers.

    Names are ``step_{cpu,wall,bytes}_{steps}``, followed by ``_8`` for eight calls per step, by ``_keyed``, ``_memory``
    or ``_guarded`` for other modes of ours, and by ``_vs_{peer}`` for all peers except the first.
    """
    found = _slopes(outcomes)
    for case, outcome in outcomes.items():
        for ours, peers in AGAINST.items():
            if ours in outcome.samples:
                for place, peer in enumerate(peers):
                    found += _beside(case, outcome, ours, peer, first=place == 0)
    return found


def _beside(case: Case, outcome: Outcome, ours: str, peer: str, *, first: bool) -> list[Row]:
    if peer not in outcome.samples and not (first or peer in outcome.lost):
        return []  # it doesn't take part, or has no runs of that length
    calls = "" if case.calls == SINGLE else f"_{case.calls}"
    suffix = calls + ("" if ours == "durable" else f"_{ours}") + ("" if first else f"_vs_{peer}")
    mine, theirs = outcome.samples[ours], outcome.samples.get(peer, ())
    made = []
    for name, (unit, figure) in FIGURES.items():
        values, others = [figure(each) for each in mine], [figure(each) for each in theirs]
        if any(values):  # without a database there are no bytes
            made.append(_row(f"step_{name}_{case.steps}{suffix}", unit, values, peer, others, outcome.lost.get(peer)))
    return made


def _row(
    name: str, unit: str, values: Sequence[float], peer: str, others: Sequence[float], lost: str | None = None
) -> Row:
    shown = SUBJECTS[peer].shown if peer in SUBJECTS else peer
    ratios = [mine / theirs for mine, theirs in zip(values, others, strict=False) if theirs]
    note = f"ratios of the rounds {min(ratios):.3f} to {max(ratios):.3f}" if len(ratios) > 1 else lost
    return Row(
        name,
        statistics.median(values),
        unit,
        shown,
        statistics.median(others) if any(others) else None,
        higher_is_better=False,
        spread=spread_of(values),
        peer_spread=spread_of(others) if any(others) else None,
        note=note,
    )


def _slopes(outcomes: Outcomes) -> list[Row]:
    """Cost of a step in the longest runs relative to the shortest, and without a run's fixed costs.

    Fixed costs weigh more in short runs and would hide a slow growth. ``step_cpu_growth`` leaves them out: it compares
    the cost of an additional step between the two longest lengths with that between the two shortest.
    """
    found = []
    lengths = sorted({case.steps for case in outcomes if case.calls == SINGLE})
    if len(lengths) < 2:
        return []
    by_length = {length: outcomes[Case(length, SINGLE)].samples["durable"] for length in lengths}
    first, last = lengths[0], lengths[-1]
    for name in ("cpu", "bytes"):
        unit, figure = FIGURES[name]
        values, others = ([figure(each) for each in by_length[length]] for length in (last, first))
        found.append(_row(f"step_{name}_slope", unit, values, f"{first} steps, for {last}", others))
    if len(lengths) > 2:
        medians = {length: statistics.median(each.cpu for each in by_length[length]) for length in lengths}
        between = [(b * medians[b] - a * medians[a]) / (b - a) for a, b in pairwise(lengths)]
        shown = f"steps {first} to {lengths[1]}, for {lengths[-2]} to {last}"
        found.append(Row("step_cpu_growth", between[-1], "µs", shown, between[0], higher_is_better=False))
    return found
