"""Bounds of a scan. A text beyond them gives an error in the report, never a crash or a hang."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


class NotExamined(Exception):
    """A text, or a part of it, is beyond a limit or not in the language. The message says what and where."""


@dataclass(frozen=True)
class ScanLimits:
    """Limits of one text."""

    characters: int = 200_000
    line_characters: int = 10_000
    """Longer lines are not searched for secrets."""
    nodes: int = 400_000
    """Nodes of the syntax tree, each counted as often as it is read: about three times."""
    depth: int = 90
    """Nesting of the syntax tree. Chains of operators and of ``elif`` count once."""
    seconds: float = 10.0
    findings: int = 500


@dataclass
class Budget:
    """Time and nodes that a scan has left."""

    limits: ScanLimits
    clock: Callable[[], float] = time.monotonic
    _nodes: int = 0
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.limits.seconds

    def spend(self, depth: int = 0) -> None:
        """Counts one node. Raises NotExamined: the limit of nodes, depth or time is passed."""
        self._nodes += 1
        if depth > self.limits.depth:
            raise NotExamined(f"nested deeper than {self.limits.depth} levels; split the code into functions")
        if self._nodes > self.limits.nodes:
            raise NotExamined(f"more than {self.limits.nodes} syntax nodes; split the file")
        if self._nodes % 64 == 0:
            self.check_time()

    def check_time(self) -> None:
        """Raises NotExamined: the time is up."""
        if self.clock() > self._end:
            raise NotExamined(f"not finished within {self.limits.seconds:g} s; split the file")
