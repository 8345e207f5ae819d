"""Lines that lead from a pie's slices to their labels. They begin at the middles of the slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tools.vision.libraries import opencv
from tools.vision.ocr import Word
from tools.vision.pie_parts import STEPS, Disc, Slice
from tools.vision.scene import Scene

NEAREST, LENGTH, SHORTEST = 3.0, 0.05, 6.0
"""Where lines are searched outside the disc: from this many pixels on, for a share of the radius or some pixels."""
BESIDE = 0.8
"""Largest gap between a line and its label, in heights of the text."""
DRAWN = 0.75
"""Least share of that length that a line covers."""
WIDEST = 24
"""Steps above which something is no line."""
EXACT = 8
"""Largest error, in steps, of slices that are computed from their middles."""


def divided_slices(scene: Scene, disc: Disc, slices: Sequence[Slice]) -> list[Slice]:
    """Slices, of which those with several leader lines are neighbours of one colour, divided between these."""
    leaders = _leaders(scene, disc)
    return [piece for one in slices for piece in _divided(one, leaders)]


def is_led_to(word: Word, scene: Scene) -> bool:
    """Whether a line ends beside a word, which is then a label and not the title."""
    ink = scene.foreground()
    row, gap = round(word.y), round(BESIDE * word.height)
    rows = slice(max(row - 2, 0), row + 3)
    left, right = round(word.box[0]) - 1, round(word.box[2]) + 1
    sides = (ink[rows, max(left - gap, 0) : max(left, 0)], ink[rows, right : right + gap])
    return any(bool(side.any()) for side in sides)


def _leaders(scene: Scene, disc: Disc) -> list[float]:
    """Angles at which lines begin at the disc's edge, in steps clockwise from the top."""
    ink = (scene.foreground() & ~scene.covered(scene.words)).astype(np.uint8)
    ink = opencv().dilate(ink, np.ones((3, 3), np.uint8)).astype(bool)  # thin lines are met at every radius
    angles = np.arange(STEPS) * 2 * math.pi / STEPS
    first = disc.radius + NEAREST
    radii = np.linspace(first, first + max(SHORTEST, LENGTH * disc.radius), 8)[:, None]
    rows = np.round(disc.y - radii * np.cos(angles)).astype(int)
    columns = np.round(disc.x + radii * np.sin(angles)).astype(int)
    inside = (rows >= 0) & (rows < scene.height) & (columns >= 0) & (columns < scene.width)
    seen = inside & ink[rows.clip(0, scene.height - 1), columns.clip(0, scene.width - 1)]
    drawn = np.flatnonzero(seen.mean(axis=0) >= DRAWN)
    if not len(drawn):
        return []
    runs = np.split(drawn, np.flatnonzero(np.diff(drawn) > 2) + 1)
    return [float(run.mean()) for run in runs if np.ptp(run) <= WIDEST]


def _divided(whole: Slice, leaders: Sequence[float]) -> list[Slice]:
    middles = sorted((leader - whole.start) % STEPS for leader in leaders)
    middles = [middle for middle in middles if middle < whole.length]
    if len(middles) < 2:
        return [whole]
    forward, backward = [0.0], [float(whole.length)]
    for middle in middles:
        forward.append(2 * middle - forward[-1])
    for middle in reversed(middles):
        backward.append(2 * middle - backward[-1])
    ends = (np.array(forward) + np.array(backward[::-1])) / 2
    # Middles and ends agree only if each line really belongs to a slice.
    if abs(forward[-1] - whole.length) > EXACT or np.diff(ends).min() <= 0:
        return [whole]
    places = [0, *(round(float(end)) for end in ends[1:-1]), whole.length]
    return [replace(whole, start=(whole.start + start) % STEPS, length=end - start) for start, end in pairwise(places)]
