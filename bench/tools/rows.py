"""Summarises results by category and as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agent.evals.confidence_interval import wilson
from bench.rows import Row
from bench.tools.calibration import Point, chance, error, reliability
from bench.tools.categories import ROWS, Category, Kind
from bench.tools.play import Played
from bench.truths import markup_row

FREE = "_free"
"""Suffix of the names of rows measured without the grammar."""


@dataclass(frozen=True)
class Tally:
    """Played cases of a category; ``size``: number of all its cases."""

    category: Category
    size: int
    played: Sequence[Played]

    @property
    def right(self) -> int:
        return sum(each.right for each in self.played)

    @property
    def share(self) -> float:
        return self.right / len(self.played)

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.share, len(self.played))

    @property
    def called(self) -> int:
        """Number of cases with at least one call."""
        return sum(any(answer.calls for answer in each.answers) for each in self.played)

    @property
    def failures(self) -> Counter[str]:
        return Counter(each.failure for each in self.played if each.failure)


def rows(tallies: Sequence[Tally], seconds: float, *, suffix: str = "") -> list[Row]:
    """Rows whose categories were all measured.

    Args:
        tallies: results of one configuration.
        seconds: duration of the measurement.
        suffix: suffix of the rows' names.
    """
    found = {tally.category.name: tally for tally in tallies}
    made = [
        _share(f"{name}{suffix}", [found[part] for part in parts])
        for name, parts in ROWS.items()
        if found.keys() >= set(parts)
    ]
    asked = sum(max(1, len(each.answers)) for tally in tallies for each in tally.played)
    failures = sum((tally.failures for tally in tallies), Counter())
    told = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
    made += [
        *_calibration(tallies, suffix),
        Row(f"bfcl_failures{suffix}", failures.total(), "cases", higher_is_better=False, note=told or None),
        markup_row([answer.text for tally in tallies for each in tally.played for answer in each.answers], suffix),
        Row(f"bfcl_requests_per_second{suffix}", asked / seconds, "requests/s"),
    ]
    return made


def points(tallies: Sequence[Tally]) -> list[Point]:
    """Confidence and correctness of calls, in categories that compare arguments.

    The confidence of a text answer measures how fluent it is, not whether it is right.
    """
    return [
        Point(answer.confidence, each.right, tally.size / len(tally.played))
        for tally in tallies
        if tally.category.kind is Kind.ARGUMENTS
        for each in tally.played
        for answer in each.answers
        if answer.calls and answer.confidence is not None
    ]


def _share(name: str, parts: Sequence[Tally]) -> Row:
    """Share over all cases of these categories. Sampled cases are weighted by what they represent; the interval uses
    Kish's effective sample size."""
    size = sum(tally.size for tally in parts)
    weights = [tally.size / size for tally in parts]
    share = sum(weight * tally.share for weight, tally in zip(weights, parts, strict=True))
    worth = 1 / sum(weight**2 / len(tally.played) for weight, tally in zip(weights, parts, strict=True))
    cases = sum(len(tally.played) for tally in parts)
    note = None if cases == size else f"a sample of {size:,}"
    return Row(name, share, "share", interval=wilson(share, worth), cases=cases, note=note)


def _calibration(tallies: Sequence[Tally], suffix: str) -> list[Row]:
    found = points(tallies)
    if not found:
        return []
    value = error(reliability(found))
    note = f"expected calibration error, 10 bins; a calibrated model shows {chance(found):.3f} with as few answers"
    return [Row(f"bfcl_calibration{suffix}", value, "", higher_is_better=False, cases=len(found), note=note)]
