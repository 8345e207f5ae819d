"""Geometry of bars: which rectangles are bars, on which baseline, and where exactly they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.fills import Fill
from tools.vision.scene import VISIBLE, Lab, Scene, distance

TOUCH = 3.5  # pixels between ends that touch
BEYOND = 7  # pixels behind a bar's end that are searched for its edge
MOST_BASES = 24
"""Candidates for the baseline that are examined."""
SIMILAR = 0.3
"""Largest relative difference in thickness between bars of one chart."""


@dataclass(frozen=True, eq=False)
class Bar:
    """A bar along its axis: pixels y of an upright bar and x of a level one. Across: the other direction."""

    low: float  # across
    high: float
    near: float  # along, the end at the baseline or at the segment below
    far: float
    colour: Lab

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def thickness(self) -> float:
        return self.high - self.low

    def tip(self, vertical: bool) -> tuple[float, float]:
        """Pixel (x, y) in the middle of the far end."""
        return (self.middle, self.far) if vertical else (self.far, self.middle)


def bars_of(fills: Sequence[Fill], *, vertical: bool) -> tuple[list[Bar], bool]:
    """Rectangles that stand on a common baseline or on each other, and whether they are stacked."""
    pieces = [piece_of(fill, vertical) for fill in fills]
    found = []
    for base in sorted({round(end) for piece in pieces for end in (piece.near, piece.far)}):
        standing = _similar([_standing(piece, base) for piece in pieces if _touches(piece, base)])
        if standing:
            found.append((len(standing), sum(map(_length, standing)), standing))
    best: tuple[int, float, list[Bar], list[Bar]] = (0, 0.0, [], [])
    for _, length, standing in sorted(found, key=lambda one: one[:2], reverse=True)[:MOST_BASES]:
        stacked = _stacked(standing, pieces)
        candidate = (len(standing) + len(stacked), length + sum(map(_length, stacked)), standing, stacked)
        if candidate[:2] > best[:2]:
            best = candidate
    _, _, standing, stacked = best
    return [*standing, *stacked], bool(standing) and len(stacked) >= max(1, 0.2 * len(standing))


def refined(bar: Bar, scene: Scene, *, vertical: bool) -> Bar:
    """The bar with its far end at a fraction of a pixel: a partly covered pixel counts in part, an edge line half."""
    step = 1 if bar.far > bar.near else -1
    inner = round(bar.far) if step > 0 else round(bar.far) - 1
    third = bar.thickness / 3
    across = slice(round(bar.low + third), max(round(bar.high - third), round(bar.low + third) + 1))
    places = [inner + step * offset for offset in range(BEYOND)]
    size = scene.height if vertical else scene.width
    if not all(0 <= place < size for place in places):
        return bar
    strip = scene.lab[places][:, across] if vertical else scene.lab[across][:, places].transpose(1, 0, 2)
    profile = np.median(strip, axis=1)
    paper = profile[-1]
    if min(float(distance(paper, known)) for known in scene.papers) > VISIBLE:
        return bar
    return replace(bar, far=bar.far + step * _overhang(profile, bar.colour, paper))


def _overhang(profile: Lab, fill: Lab, paper: Lab) -> float:
    """Pixels of the bar behind its last full pixel."""
    span = fill - paper
    total = 0.0
    edge = 0
    for colour in profile:
        share = float(np.dot(colour - paper, span) / np.dot(span, span))
        beside = float(np.linalg.norm(colour - paper - share * span))
        if beside > 2 * VISIBLE or share > 1.25:
            edge += 1
        elif share < 0.08:
            break
        elif not edge:
            total += min(share, 1.0)
    return total + edge / 2 if edge <= 5 else 0.0


def piece_of(fill: Fill, vertical: bool) -> Bar:
    """A fill as a bar that grows upwards or to the right."""
    left, top, right, bottom = fill.box
    return Bar(left, right, bottom, top, fill.colour) if vertical else Bar(top, bottom, left, right, fill.colour)


def _length(bar: Bar) -> float:
    return abs(bar.far - bar.near)


def _touches(piece: Bar, base: float) -> bool:
    return min(abs(piece.near - base), abs(piece.far - base)) <= TOUCH


def _standing(piece: Bar, base: float) -> Bar:
    """The piece with its near end at the baseline."""
    if abs(piece.far - base) < abs(piece.near - base):
        return replace(piece, near=piece.far, far=piece.near)
    return piece


def _similar(bars: list[Bar]) -> list[Bar]:
    """Bars of the most common thickness."""
    if not bars:
        return []
    thick = [bar.thickness for bar in bars]
    middle = max(thick, key=lambda one: (sum(abs(other - one) <= SIMILAR * one for other in thick), one))
    return [bar for bar in bars if abs(bar.thickness - middle) <= max(SIMILAR * middle, 2)]


def _stacked(standing: Sequence[Bar], pieces: Sequence[Bar]) -> list[Bar]:
    """Segments that stand on the ends of others, with their near end there."""
    found: list[Bar] = []
    known = {(round(bar.low), round(min(bar.near, bar.far))) for bar in standing}
    grown = list(standing)
    while grown:
        last, grown = grown, []
        for bar in last:
            for piece in pieces:
                key = (round(piece.low), round(min(piece.near, piece.far)))
                ends = _standing(piece, bar.far)
                if key in known or not _on(bar, ends):
                    continue
                known.add(key)
                grown.append(ends)
        found += grown
    return found


def _on(bar: Bar, piece: Bar) -> bool:
    """Whether a segment stands on a bar's end, and grows in the same direction."""
    same = abs(piece.low - bar.low) <= TOUCH and abs(piece.high - bar.high) <= TOUCH
    return same and abs(piece.near - bar.far) <= TOUCH + 1 and (piece.far - piece.near) * (bar.far - bar.near) > 0
