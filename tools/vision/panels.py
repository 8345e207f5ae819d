"""Small multiples of bars: panels beside each other that repeat one set of categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tools.vision.axes import ScaleAxis
from tools.vision.bar_geometry import Bar
from tools.vision.ocr import Word

REPEATED = 0.8
"""Least share of labels that agree with those at the same place of the other panels; others were misread."""
CENTRED = 0.25
"""Largest distance of a panel's title from the panel's middle, in widths of the panel."""


@dataclass(frozen=True)
class Panel:
    """Categories ``start`` to ``stop`` of all that stand on the chart's baseline, from left to right."""

    start: int
    stop: int
    low: float  # pixels across, where its bars begin and end
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


def repeated(texts: Sequence[str]) -> list[str]:
    """The categories that repeat, if these are all of ``texts``; empty if they don't repeat.

    >>> repeated(["Q1", "Q2", "Q1", "Q2"])
    ['Q1', 'Q2']
    """
    for size in range(2, len(texts) // 2 + 1):
        if len(texts) % size:
            continue
        usual = [Counter(texts[place::size]).most_common(1)[0] for place in range(size)]
        names = [name for name, _ in usual]
        if all(names) and len(set(names)) == size and sum(count for _, count in usual) >= REPEATED * len(texts):
            return names
    return []


def panels_of(groups: Sequence[Sequence[Bar]], size: int) -> list[Panel]:
    """Panels of ``size`` categories each, from the bars of all categories."""
    found = []
    for start in range(0, len(groups), size):
        bars = [bar for group in groups[start : start + size] for bar in group]
        found.append(Panel(start, start + size, min(bar.low for bar in bars), max(bar.high for bar in bars)))
    return found


def own_axes(panels: Sequence[Panel], axes: Sequence[ScaleAxis], common: ScaleAxis | None) -> list[ScaleAxis | None]:
    """The value axis of each panel: the one between it and the panel before, else the ``common`` one."""
    found = []
    last = float("-inf")
    for panel in panels:
        own = [axis for axis in axes if last < axis.position < panel.low]
        found.append(max(own, key=lambda axis: axis.position) if own else common)
        last = panel.high
    return found


def titles_of(panels: Sequence[Panel], words: Sequence[Word], top: float, bottom: float) -> list[str]:
    """Titles of the panels: a row of texts above ``top``, else below ``bottom``, one over the middle of each panel."""
    above = [word for word in words if word.level and word.y < top]
    below = [word for word in words if word.level and word.y > bottom]
    for candidates in (above, below):
        for seed in sorted(candidates, key=lambda word: abs(word.y - (top + bottom) / 2)):
            row = [word for word in candidates if abs(word.y - seed.y) <= 0.5 * seed.height]
            chosen = [_over(panel, row) for panel in panels]
            if all(chosen) and len(set(chosen)) == len(panels):
                return chosen
    return [f"Panel {place}" for place in range(1, len(panels) + 1)]


def _over(panel: Panel, row: Sequence[Word]) -> str:
    best = min(row, key=lambda word: abs(word.x - panel.middle), default=None)
    return best.text if best and abs(best.x - panel.middle) <= CENTRED * (panel.high - panel.low) else ""
