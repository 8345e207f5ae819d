"""Pixels of thin lines by colour: what remains without background, text, grid and frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.vision.chart_parts import ChartParts
from tools.vision.libraries import opencv
from tools.vision.ocr import Word
from tools.vision.readings import Box
from tools.vision.scene import VISIBLE, Lab, Mask, Scene, common_colours, distance

GREY = 16.0
"""Chroma below which a colour may be that of a grid or frame."""
ACROSS = 0.55
"""Share of the plot area that a grid line crosses."""
BESIDE = 9.0
"""Largest distance of a pixel's colour from the mixtures of line and background."""
THINNEST = 0.3
"""Least share of the line's colour in a pixel of the line."""
NEW = 18.0
"""Least distance of a line's colour from those that are known."""
MOST_SERIES = 12


def strokes(parts: ChartParts, plot: Box, ticks: Sequence[float]) -> list[tuple[Lab, Mask]]:
    """Colours of lines in the plot area with their pixels, most pixels first.

    Args:
        parts: the image
        plot: the plot area
        ticks: pixel rows of the value axis's ticks, at which grid lines are expected
    """
    scene = parts.scene
    ink = scene.foreground() & ~scene.covered(_reliable(scene), 0) & ~parts.legend_mask()
    inside = np.zeros_like(ink)
    left, top, right, bottom = (max(int(edge), 0) for edge in plot)
    inside[top:bottom, left:right] = True
    ink &= inside
    ink &= ~_grid(scene, ink, plot, ticks)
    colours = _colours(scene, ink, right - left, _from_legend(parts, ink))
    paper = _paper(scene, inside)
    return [(colour, mask) for colour, mask in zip(colours, _assigned(scene, ink, colours, paper), strict=True)]


def _reliable(scene: Scene) -> list[Word]:
    """Words that hide the lines behind them; a lone stroke may be part of a line that was taken for text."""
    return [word for word in scene.words if len(word.text) > 1 or word.score > 0.9]


def _paper(scene: Scene, inside: Mask) -> Lab:
    counts = [int((distance(scene.lab, paper)[inside] < VISIBLE).sum()) for paper in scene.papers]
    return scene.papers[int(np.argmax(counts))]


def _grid(scene: Scene, ink: Mask, plot: Box, ticks: Sequence[float]) -> Mask:
    """Grid lines, axes and frames: straight lines across the plot area, grey or at a tick."""
    grid = np.zeros_like(ink)
    left, top, right, bottom = (max(int(edge), 0) for edge in plot)
    rows = ink[:, left:right].mean(axis=1)
    for row in np.flatnonzero(rows > ACROSS):
        line = scene.lab[row]
        colour = np.median(line[left:right][ink[row, left:right]], axis=0)
        if np.hypot(colour[1], colour[2]) < GREY or any(abs(row - tick) <= 2.5 for tick in ticks):
            grid[row] |= distance(line, colour) < 2 * VISIBLE
    columns = ink[top:bottom].mean(axis=0)
    for column in np.flatnonzero(columns > ACROSS):
        line = scene.lab[:, column]
        colour = np.median(line[top:bottom][ink[top:bottom, column]], axis=0)
        grid[:, column] |= distance(line, colour) < 2 * VISIBLE
    return grid


def _from_legend(parts: ChartParts, ink: Mask) -> list[Lab]:
    """The legend's colours that are drawn."""
    colours = [entry.colour for entry in parts.legend]
    return [colour for colour in colours if (ink & (distance(parts.scene.lab, colour) < 2 * BESIDE)).sum() >= 40]


def _colours(scene: Scene, ink: Mask, width: int, known: Sequence[Lab]) -> list[Lab]:
    """Colours of lines: ``known`` ones, and those of pixels in lines' middles, where a thin line shows most colour."""
    away = np.min([distance(scene.lab, paper) for paper in scene.papers], axis=0)
    peak = opencv().dilate(away, np.ones((3, 3), np.uint8))
    core = ink & (away >= 0.9 * peak)
    found = [colour for colour, _ in common_colours(scene.lab[core], max(25, width // 8), apart=14.0)]
    strong = sorted(found, key=lambda colour: -min(float(distance(colour, paper)) for paper in scene.papers))
    kept = list(known)
    for colour in strong:
        if any(distance(colour, other) < NEW for other in kept):
            continue
        own = core & (distance(scene.lab, colour) < 8)
        if not any(_dilutes(scene, colour, own, core, other) for other in kept):
            kept.append(colour)
    return kept[:MOST_SERIES]


def _dilutes(scene: Scene, colour: Lab, own: Mask, core: Mask, other: Lab) -> bool:
    """Whether a colour is only the edge of a stronger colour's line, mixed with the background."""
    share, beside = _mixture(colour[None, None], other, scene.papers[-1])
    if float(beside[0, 0]) > BESIDE or not 0.15 < float(share[0, 0]) < 0.97:
        return False
    near = opencv().dilate((core & (distance(scene.lab, other) < 10)).astype(np.uint8), np.ones((9, 9), np.uint8))
    return bool(own.any()) and float(near[own].mean()) > 0.6


def _mixture(colours: Lab, line: Lab, paper: Lab) -> tuple[np.ndarray, np.ndarray]:
    """Share of the line's colour in each colour, and the distance from such a mixture."""
    span = line - paper
    share = np.clip(((colours - paper) @ span) / float(span @ span), 0.0, 1.05)
    return share, distance(colours, paper + share[..., None] * span)


def _assigned(scene: Scene, ink: Mask, colours: Sequence[Lab], paper: Lab) -> list[Mask]:
    """For each colour, the pixels that are best explained by it."""
    if not colours:
        return []
    mixtures = [_mixture(scene.lab, colour, paper) for colour in colours]
    # Of two greys, a dark line's edge looks like a light line; the fuller share wins where both explain a pixel.
    costs = np.stack([beside + 6.0 * (1.0 - share) for share, beside in mixtures])
    best = costs.argmin(axis=0)
    return [
        np.asarray(ink & (best == index) & (beside < 1.6 * BESIDE) & (share > THINNEST))
        for index, (share, beside) in enumerate(mixtures)
    ]
