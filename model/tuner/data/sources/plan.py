"""What a converter is told, and what it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.tuner.data.row import Bad, Row, Tool


@dataclass(frozen=True)
class Plan:
    """How to convert.

    Attributes:
        split: part of the set.
        seed: of what is drawn.
        fits: whether a row is short enough.
    """

    split: str
    seed: int = 0
    fits: Callable[[Row], bool] = lambda row: True

    def draw(self, record: str) -> random.Random:
        """The draws of one record, which don't depend on the records before it."""
        return random.Random(f"{self.seed}:{record}")

    def short(self, make: Callable[[int], Row], most: int) -> Row:
        """What ``make`` makes of up to ``most`` other tools, or of one where that is too long."""
        made = make(most)
        return made if self.fits(made) else make(1)


@dataclass(frozen=True)
class Source:
    """A public set.

    Attributes:
        splits: parts that it has, the one to train on first.
        rows: its rows and bad records, in the order of its files.
    """

    splits: tuple[str, ...]
    rows: Callable[[Path, Plan], Iterator[Row | Bad]]


def beside(needed: Sequence[Tool], others: Sequence[Tool], most: int, draw: random.Random) -> list[Tool]:
    """The tools that are needed, once each, and 1 to ``most`` others of other names, in an order without meaning."""
    chosen = {each["function"]["name"]: each for each in needed}
    wanted = len(chosen) + draw.randint(1, most)
    for each in draw.sample(others, min(len(others), 2 * wanted)):
        if len(chosen) < wanted:
            chosen.setdefault(each["function"]["name"], each)
    tools = list(chosen.values())
    draw.shuffle(tools)
    return tools
