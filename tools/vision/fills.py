"""Filled rectangles of one colour: candidates for bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.libraries import opencv
from tools.vision.readings import Box, Boxed
from tools.vision.scene import SAME_COLOUR, VISIBLE, Lab, Mask, Scene, common_colours, distance, flat_pixels

MOST_COLOURS = 24
NOISE, RARE = 18.0, 8
"""A colour this near to one that is this many times more common is noise of JPEG at the edges of its areas."""
MOST_PIECES = 400
LEAST_SIDE = 3
THIN = 4
MOSTLY = 0.3
"""Least share of a colour's area in pieces that are not thin."""
SQUARE = 0.86
"""Least share of its bounding box that a rectangle fills."""
SHOWN = 0.6
"""Least share of a side that a piece fills beside the text on it."""
SLACK = 2.5  # pixels


@dataclass(frozen=True)
class Fill(Boxed):
    """A rectangle of one colour."""

    box: Box
    colour: Lab


def palette(scene: Scene) -> list[Lab]:
    """Colours of fills, most common first, without the background's."""
    flat = flat_pixels(scene.pixels)
    least = max(12, scene.height * scene.width // 40_000)
    found = common_colours(scene.smooth[flat], least)
    kept: list[tuple[Lab, int]] = []
    for colour, count in found:
        noise = any(distance(colour, other) < NOISE and count * RARE < more for other, more in kept)
        if not noise and all(distance(colour, paper) > VISIBLE for paper in scene.papers):
            kept.append((colour, count))
    return [colour for colour, _ in kept[:MOST_COLOURS]]


def coloured_areas(scene: Scene) -> list[tuple[Lab, Mask]]:
    """Colours of fills with the pixels that are nearer to them than to all others and to the background."""
    colours = palette(scene)
    every = [*colours, *scene.papers]
    distances = np.stack([distance(scene.smooth, colour) for colour in every])
    best = distances.argmin(axis=0)
    near = distances.min(axis=0) < SAME_COLOUR
    return [(colour, np.asarray((best == index) & near)) for index, colour in enumerate(colours)]


def rectangles(scene: Scene, coloured: Sequence[tuple[Lab, Mask]], ignored: Mask) -> list[Fill]:
    """Rectangles of one colour, outside ``ignored``. Words printed on a rectangle don't divide it."""
    text = scene.covered(scene.words)
    found: list[Fill] = []
    for colour, mask in coloured:
        pieces = _of_colour(mask & ~ignored, text, colour)
        # A colour of thin pieces is that of lines (grid, axes, edges) or of JPEG's noise beside them.
        areas = [(piece.width * piece.height, min(piece.width, piece.height) > THIN) for piece in pieces]
        if sum(area for area, thick in areas if thick) > MOSTLY * sum(area for area, _ in areas):
            found += pieces
    return found[:MOST_PIECES]


def _of_colour(mask: Mask, text: Mask, colour: Lab) -> list[Fill]:
    cv2 = opencv()
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    pieces: list[Fill] = []
    for index in sorted(range(1, count), key=lambda one: -stats[one, cv2.CC_STAT_AREA])[:MOST_PIECES]:
        left, top, width, height, area = (int(value) for value in stats[index])
        if area < 10 or min(width, height) < 2:
            continue
        piece = labels[top : top + height, left : left + width] == index
        covered = text[top : top + height, left : left + width]
        if np.mean(covered[piece]) > 0.7 and not _surrounds(piece & ~covered):  # a letter
            continue
        rows, columns = _without_lines(piece)
        piece, covered = piece[rows, columns], covered[rows, columns]
        left, top = left + columns.start, top + rows.start
        core = _core(piece | covered, piece)
        if core and np.mean((piece | covered)[core]) >= SQUARE and np.mean(piece[core]) >= 0.3:
            pieces.append(Fill(_box(core, left, top), colour))
        else:
            pieces += _steps(piece, left, top, colour)
    return [fill for fill in _joined(pieces, text) if max(fill.width, fill.height) >= LEAST_SIDE + 1]


def _without_lines(piece: Mask) -> tuple[slice, slice]:
    """Rows and columns of a piece without thin lines, such as the edge of a longer neighbour, if these are most of it.

    The edge of a dark bar may have the colour of the lighter bar beside it.
    """
    whole = slice(0, piece.shape[0]), slice(0, piece.shape[1])
    if piece.mean() > 0.5:
        return whole
    solid = opencv().morphologyEx(piece.astype(np.uint8), opencv().MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not len(rows) or solid.sum() < 0.5 * piece.sum():
        return whole
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _surrounds(bare: Mask) -> bool:
    """Whether a piece shows at two opposite sides of the text on it, as a thin bar does that its number fills."""
    for sides in (bare, bare.T):
        shown = sides.mean(axis=0) >= SHOWN
        if min(len(shown) // 2, LEAST_SIDE) and shown[:LEAST_SIDE].any() and shown[-LEAST_SIDE:].any():
            return True
    return False


def _core(whole: Mask, piece: Mask) -> tuple[slice, slice] | None:
    """Rows and columns without those at the margin that are mostly empty, such as an outline around a neighbour."""
    rows = _longest((whole.mean(axis=1) > 0.6) & piece.any(axis=1))
    columns = _longest(whole[rows].mean(axis=0) > 0.6) if rows.stop > rows.start else slice(0, 0)
    return (rows, columns) if columns.stop > columns.start else None


def _longest(solid: Mask) -> slice:
    """The longest run of true values; gaps of thin lines don't end it."""
    places = np.flatnonzero(solid)
    if not len(places):
        return slice(0, 0)
    runs = np.split(places, np.flatnonzero(np.diff(places) > THIN) + 1)
    best = max(runs, key=len)
    return slice(int(best[0]), int(best[-1]) + 1)


def _box(core: tuple[slice, slice], left: int, top: int) -> Box:
    rows, columns = core
    return left + columns.start, top + rows.start, left + columns.stop, top + rows.stop


def _steps(piece: Mask, left: int, top: int, colour: Lab) -> list[Fill]:
    """Rectangles of different heights that touch, such as a histogram's: runs of columns with one profile.

    Horizontal bars are the same with rows and columns exchanged.
    """
    for turned in (False, True):
        shape = piece.T if turned else piece
        runs = _runs(shape)
        filled = sum((end - start) * (low - high) for start, end, high, low in runs)
        if runs and len(runs) <= 60 and filled >= 0.9 * piece.sum():
            boxes = [(high, start, low, end) if turned else (start, high, end, low) for start, end, high, low in runs]
            return [Fill((a + left, b + top, c + left, d + top), colour) for a, b, c, d in boxes]
    return []


def _runs(shape: Mask) -> list[tuple[int, int, int, int]]:
    """Column runs (start, end, top, bottom) in which the mask is solid and its top and bottom are constant."""
    height = shape.shape[0]
    tops = shape.argmax(axis=0)
    bottoms = height - shape[::-1].argmax(axis=0)
    solid = shape.sum(axis=0) >= 0.8 * (bottoms - tops)
    runs = []
    start = 0
    for column in range(1, shape.shape[1] + 1):
        same = column < shape.shape[1] and max(
            abs(int(tops[column]) - int(tops[start + (column - start) // 2])),
            abs(int(bottoms[column]) - int(bottoms[start + (column - start) // 2])),
        ) <= 1  # fmt: skip
        if same:
            continue
        if column - start >= LEAST_SIDE and solid[start:column].mean() > 0.8:
            middle = slice(start, column)
            runs.append((start, column, int(np.median(tops[middle])), int(np.median(bottoms[middle]))))
        start = column
    return runs


def _joined(pieces: list[Fill], text: Mask) -> list[Fill]:
    """Joins pieces of one bar that a grid line or a word divides."""
    for axis in (0, 1):
        pieces = _joined_along(pieces, text, axis)
    return pieces


def _joined_along(pieces: list[Fill], text: Mask, axis: int) -> list[Fill]:
    """``axis`` 0 joins pieces beside each other, 1 pieces above each other."""
    across = 1 - axis
    done: list[Fill] = []
    for piece in sorted(pieces, key=lambda fill: fill.box[axis]):
        for index, other in enumerate(done):
            same = all(abs(piece.box[side] - other.box[side]) <= SLACK for side in (across, across + 2))
            if same and _bridged(other.box, piece.box, text, axis):
                whole = (
                    min(other.box[0], piece.box[0]), min(other.box[1], piece.box[1]),
                    max(other.box[2], piece.box[2]), max(other.box[3], piece.box[3]),
                )  # fmt: skip
                done[index] = replace(other, box=whole)
                break
        else:
            done.append(piece)
    return done


def _bridged(first: Box, second: Box, text: Mask, axis: int) -> bool:
    gap = second[axis] - first[axis + 2]
    if gap > 60 or gap < -SLACK:
        return False
    # Adjacent bars of one colour have gaps of a few pixels across the bars' direction, so only thin ones are bridged.
    thick = first[3 - axis] - first[1 - axis]
    long = max(first[axis + 2] - first[axis], second[axis + 2] - second[axis])
    if gap <= SLACK and thick <= 1.2 * long:
        return True
    left, top = int(min(first[0], second[0])), int(min(first[1], second[1]))
    right, bottom = int(max(first[2], second[2])), int(max(first[3], second[3]))
    between = (
        text[int(first[3]) : int(second[1]), left:right] if axis else text[top:bottom, int(first[2]) : int(second[0])]
    )
    return bool(between.size) and float(between.mean()) > 0.3
