"""Evaluates minimum confidences for tool calls: a higher one prevents more wrong calls, but also more right ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.tuner.mistakes import Answered

LEAST = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Level:
    """Outcome of making only calls with a confidence of at least ``least``. Shares in 0..1.

    Attributes:
        right: of the questions that need calls, the share with the right calls.
        quiet: of the questions that need no call, the share without calls.
        precision: of the answers with calls, the share with the right calls.
    """

    least: float
    right: float
    quiet: float
    precision: float

    @property
    def score(self) -> float:
        """Mean of ``right`` and ``quiet``: both kinds of questions have equal weight, regardless of their numbers."""
        return (self.right + self.quiet) / 2


def levels(answered: Sequence[Answered], least: Sequence[float] = LEAST) -> list[Level]:
    """One level per minimum confidence in ``least``. An answer of unknown confidence counts as fully confident."""
    return [_level(answered, each) for each in least]


def _level(answered: Sequence[Answered], least: float) -> Level:
    sure = [each for each in answered if each.confidence is None or each.confidence >= least**each.calls]
    made = [each for each in sure if each.called]
    due = sum(each.due for each in answered)
    right = sum(each.is_right for each in made)
    needless = sum(not each.due for each in made)
    return Level(least, _share(right, due), 1 - _share(needless, len(answered) - due), _share(right, len(made)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
