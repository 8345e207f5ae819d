"""Interface of the converters, and their settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.tuner.data.row import Bad, Row, Tool


@dataclass(frozen=True)
class Plan:
    """Settings of a conversion.

    Attributes:
        split: part of the set.
        seed: seed of random choices.
        fits: whether a row is short enough.
    """

    split: str
    seed: int = 0
    fits: Callable[[Row], bool] = lambda row: True

    def draw(self, record: str) -> random.Random:
        """Random generator of a record, independent of the records before it."""
        return random.Random(f"{self.seed}:{record}")

    def short(self, make: Callable[[int], Row], most: int) -> Row:
        """The row that ``make`` builds with up to ``most`` other tools, or with one if that is too long."""
        made = make(most)
        return made if self.fits(made) else make(1)


@dataclass(frozen=True)
class Source:
    """A public set.

    Attributes:
        splits: its parts, the training part first.
        rows: yields its rows and bad records, in the order of its files.
    """

    splits: tuple[str, ...]
    rows: Callable[[Path, Plan], Iterator[Row | Bad]]


def beside(needed: Sequence[Tool], others: Sequence[Tool], most: int, draw: random.Random) -> list[Tool]:
    """The needed tools, once each, and 1 to ``most`` others with different names, in random order."""
    chosen = {each["function"]["name"]: each for each in needed}
    wanted = len(chosen) + draw.randint(1, most)
    for each in draw.sample(others, min(len(others), 2 * wanted)):
        if len(chosen) < wanted:
            chosen.setdefault(each["function"]["name"], each)
    tools = list(chosen.values())
    draw.shuffle(tools)
    return tools
