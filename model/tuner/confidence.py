"""How sure of its calls a model has to be: what it gains and loses by not making the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.tuner.mistakes import Answered

LEAST = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Level:
    """What comes of it when only calls of a confidence of ``least`` or more are made. Shares in 0..1.

    Attributes:
        right: of the questions that calls are due for, those with the right ones.
        quiet: of those that none is due for, those without.
        precision: of the answers with calls, those with the right ones.
    """

    least: float
    right: float
    quiet: float
    precision: float

    @property
    def score(self) -> float:
        """Which level is best: both kinds of questions count alike, however many there are of each."""
        return (self.right + self.quiet) / 2


def levels(answered: Sequence[Answered], least: Sequence[float] = LEAST) -> list[Level]:
    """One for each of ``least``. An answer whose confidence isn't known is as sure as can be."""
    return [_level(answered, each) for each in least]


def _level(answered: Sequence[Answered], least: float) -> Level:
    made = [each for each in answered if each.called and (each.confidence is None or each.confidence >= least)]
    due = sum(each.due for each in answered)
    right = sum(each.is_right for each in made)
    needless = sum(not each.due for each in made)
    return Level(least, _share(right, due), 1 - _share(needless, len(answered) - due), _share(right, len(made)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
