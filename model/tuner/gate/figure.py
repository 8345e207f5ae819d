"""A figure of new experts beside that of those in use, and the verdict on the difference."""

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
    """One that was measured of both.

    Attributes:
        name: of the figure.
        old, new: its values.
        interval: where new - old lies with 95 % confidence; None where that is not known.
        higher_is_better: its direction.
        allowed: how much worse it may be, in its own unit.
        cases: of how many it is, where that is known.
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
        """Worse: all of the interval is worse than allowed; better: all of it is on the good side of 0."""
        if self.interval is None:
            return Verdict.OPEN
        low, high = self.interval
        least, most = (low, high) if self.higher_is_better else (-high, -low)
        if most < -self.allowed:
            return Verdict.WORSE
        return Verdict.BETTER if least > 0 else Verdict.SAME


@dataclass(frozen=True)
class Allowance:
    """How much worse figures may be: ``usual``, or what is said for some by name."""

    usual: float
    named: Mapping[str, float]

    def of(self, name: str) -> float:
        return self.named.get(name, self.usual)

    def check(self, names: Sequence[str]) -> None:
        """Raises ConfigError if it names what is none of these figures."""
        unknown = sorted(self.named.keys() - set(names))
        if unknown:
            raise ConfigError(f"no figure is called {', '.join(unknown)}; there are {', '.join(names)}", param="allow")
