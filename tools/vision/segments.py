"""Segments of stacked bars: those that stand on a part that was not found, and where exactly they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tools.vision.bar_geometry import TOUCH, Bar, piece_of, refined
from tools.vision.fills import Fill
from tools.vision.scene import VISIBLE, Mask, Scene, distance

EDGE = TOUCH + 1
"""Widest line between two segments, in pixels."""
GAP = 0.5
"""Share of the rows between a segment and the baseline that are empty, above which it stands on nothing."""


def with_floating(bars: Sequence[Bar], fills: Sequence[Fill], scene: Scene, *, vertical: bool) -> list[Bar]:
    """Stacked bars with the segments above a part that was not found, such as one that its number fills."""
    base = float(np.median([bar.near for bar in _lowest(bars)]))
    up = 1.0 if sum(map(_up, bars)) > 0 else -1.0
    thick = float(np.median([bar.thickness for bar in bars]))
    empty = _empty(scene)
    found = list(bars)
    for piece in sorted((_turned(piece_of(fill, vertical), up) for fill in fills), key=lambda one: up * one.near):
        over = up * (piece.near - base) > -TOUCH
        alike = abs(piece.thickness - thick) <= 2 * TOUCH
        if not over or not alike or any(_overlap(piece, bar, up) for bar in found):
            continue
        if _empty_share(piece, base, empty, vertical=vertical) <= GAP:
            found.append(piece)
    return found


def exact_stacks(bars: Sequence[Bar], scene: Scene, *, vertical: bool) -> list[Bar]:
    """Segments that meet in the middle of the line between them.

    The outer ends lie half such a line further: a visible line is seen there, one of the background's colour isn't.
    """
    empty = _empty(scene)
    columns = _columns(bars)
    lines = [line for column in columns for line in _lines(column)]
    width = float(np.median([abs(far - near) for near, far in lines])) if lines else 0.0
    places = [(column, (near + far) / 2) for column in columns for near, far in _lines(column)]
    unseen = [_share_at(column[0], place, empty, vertical=vertical) > GAP for column, place in places]
    pale = width >= 1 and bool(unseen) and float(np.mean(unseen)) > GAP
    return [bar for column in columns for bar in _exact(column, scene, width, pale=pale, vertical=vertical)]


def _exact(column: Sequence[Bar], scene: Scene, width: float, *, pale: bool, vertical: bool) -> list[Bar]:
    """One stack from the baseline on, with ``width`` of the lines between segments."""
    whole = list(column)
    for place, (bar, after) in enumerate(pairwise(column)):
        if _meet(bar, after):
            middle = (bar.far + after.near) / 2
            whole[place] = replace(whole[place], far=middle)
            whole[place + 1] = replace(after, near=middle)
    step = _up(whole[0])
    outer = refined(column[-1], scene, vertical=vertical).far + (step * width / 2 if pale else 0.0)
    whole[-1] = replace(whole[-1], far=float(outer))
    whole[0] = replace(whole[0], near=float(whole[0].near - step * width / 2))
    return whole


def _columns(bars: Sequence[Bar]) -> list[list[Bar]]:
    """Stacks: bars of one place and direction, from the baseline on."""
    columns: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda one: _up(one) * one.near):
        for column in columns:
            if abs(bar.middle - column[0].middle) <= TOUCH and _up(bar) == _up(column[0]):
                column.append(bar)
                break
        else:
            columns.append([bar])
    return columns


def _up(bar: Bar) -> float:
    """1 of a bar that grows with the pixels, else -1."""
    return 1.0 if bar.far > bar.near else -1.0


def _lines(column: Sequence[Bar]) -> list[tuple[float, float]]:
    """Ends of segments that meet, on both sides of the line between them."""
    return [(bar.far, after.near) for bar, after in pairwise(column) if _meet(bar, after)]


def _meet(bar: Bar, after: Bar) -> bool:
    return abs(after.near - bar.far) <= EDGE


def _lowest(bars: Sequence[Bar]) -> list[Bar]:
    return [column[0] for column in _columns(bars)]


def _turned(piece: Bar, up: float) -> Bar:
    """The piece as it grows in the direction ``up``."""
    return piece if _up(piece) == up else replace(piece, near=piece.far, far=piece.near)


def _overlap(piece: Bar, bar: Bar, up: float) -> bool:
    """Whether two bars cover each other by more than their ends, or stand beside each other in one place."""
    across = min(piece.high, bar.high) - max(piece.low, bar.low)
    (start, end), (low, high) = (sorted((up * one.near, up * one.far)) for one in (piece, bar))
    beside = 0 < across < piece.thickness - 2 * TOUCH
    return beside or (across > 0 and min(end, high) - max(start, low) > TOUCH / 2)


def _empty(scene: Scene) -> Mask:
    return np.asarray(np.min([distance(scene.lab, paper) for paper in scene.papers], axis=0) < VISIBLE)


def _empty_share(piece: Bar, base: float, empty: Mask, *, vertical: bool) -> float:
    """Share of the rows between a segment and the baseline that are mostly background; 0 where they touch."""
    start, end = sorted((round(piece.near), round(base)))
    across = slice(round(piece.low) + 1, max(round(piece.high) - 1, round(piece.low) + 2))
    part = empty[start:end, across] if vertical else empty[across, start:end].T
    return float((part.mean(axis=1) > GAP).mean()) if part.size and end - start > TOUCH else 0.0


def _share_at(bar: Bar, place: float, empty: Mask, *, vertical: bool) -> float:
    """Share of the background in the pixels across a bar at ``place``."""
    across = slice(round(bar.low) + 1, max(round(bar.high) - 1, round(bar.low) + 2))
    rows = slice(max(int(place), 0), int(place) + 1)
    part = empty[rows, across] if vertical else empty[across, rows]
    return float(part.mean()) if part.size else 0.0
