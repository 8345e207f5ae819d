"""A pie's disc and slices."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.vision.scene import Lab

STEPS = 1440
"""Angles at which the disc is sampled."""


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    radius: float
    hole: float  # radius of the hole; 0 of a pie


@dataclass(frozen=True)
class Slice:
    """A slice from one angle to another, in steps clockwise from the top."""

    start: int
    length: int
    colour: Lab

    @property
    def middle(self) -> float:
        """Angle of the slice's middle in radians, clockwise from the top."""
        return (self.start + self.length / 2) % STEPS * 2 * math.pi / STEPS
