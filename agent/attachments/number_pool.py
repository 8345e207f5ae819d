"""Numbers among which a written number is looked for, in logarithmic time."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from guardrails.text.words import number_of

WRITTEN = re.compile(
    r"(?<![\w.,])[-+−]?[$€£¥]?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)(?![\w]|[.,]\d)"
    r"(?:\s?(?P<scale>thousand|million|billion)\b)?",
    re.IGNORECASE,
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}


@dataclass(frozen=True)
class Written:
    """A number as it is written, with the distances at which another one is the same, rounded."""

    number: float
    scale: float
    within: float

    @classmethod
    def of(cls, match: re.Match[str]) -> Written | None:
        """The number of a match of ``WRITTEN``; None if it is ambiguous."""
        digits = match["digits"]
        number = number_of(digits)
        if number is None:
            return None
        whole, point, decimals = digits.replace(",", "." if re.fullmatch(r"\d+,\d{1,2}", digits) else "").partition(".")
        zeros = len(whole) - len(whole.rstrip("0")) if not point else 0
        within = 0.5 * 10.0 ** -len(decimals) * 1.000001
        if zeros:
            within = max(within, min(0.5 * 10.0**zeros, 0.05 * number))
        return cls(number, _SCALES.get((match["scale"] or "").lower(), 1.0), within)


class NumberPool:
    """Numbers, without their signs."""

    def __init__(self, numbers: Iterable[float]) -> None:
        self._sorted = sorted(map(abs, numbers))

    def has(self, written: Written | None) -> bool:
        """Whether one of the numbers, rounded as it is written, is this one."""
        if written is None:
            return False
        place = bisect_left(self._sorted, written.number * written.scale)
        nearest = self._sorted[max(0, place - 1) : place + 1]
        return any(abs(value / written.scale - written.number) <= written.within for value in nearest)
