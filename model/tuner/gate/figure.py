"""A figure of new experts and of those in use, and the verdict on the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flightloop.errors import ConfigError

Interval = tuple[float, float]


class Verdict(StrEnum):
    BETTER = "better"
    SAME = "no worse"
    WORSE = "worse"
    OPEN = "not judged"


@dataclass(frozen=True)
class Figure:
    """A figure measured with the experts in use and with new ones.

    Attributes:
        name: name of the figure.
        old, new: value with the experts in use, and with the new ones.
        interval: 95 % confidence interval of new - old; None if unknown.
        higher_is_better: whether a higher value is better.
        allowed: tolerance, in the figure's unit.
        cases: sample size, if known.
    """

    name: str
    old: float
    new: float
    interval: Interval | None
    higher_is_better: bool
    allowed: float
    cases: int | None = None

    @property
    def difference(self) -> float:
        return self.new - self.old

    @property
    def verdict(self) -> Verdict:
        """Worse: the whole interval exceeds the tolerance. Better: the whole interval is an improvement."""
        if self.interval is None:
            return Verdict.OPEN
        low, high = self.interval
        least, most = (low, high) if self.higher_is_better else (-high, -low)
        if most < -self.allowed:
            return Verdict.WORSE
        return Verdict.BETTER if least > 0 else Verdict.SAME


@dataclass(frozen=True)
class Allowance:
    """Tolerances: ``usual`` applies to figures that are not in ``named``."""

    usual: float
    named: Mapping[str, float]

    def of(self, name: str) -> float:
        return self.named.get(name, self.usual)

    def check(self, names: Sequence[str]) -> None:
        """Raises ConfigError if ``named`` has a figure that is not in ``names``."""
        unknown = sorted(self.named.keys() - set(names))
        if unknown:
            raise ConfigError(f"unknown figure {', '.join(unknown)}; known: {', '.join(names)}", param="allow")
