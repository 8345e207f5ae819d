"""Follows a line through its pixels, and finds its height at a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.vision.libraries import opencv
from tools.vision.scene import Mask

MOST_RUNS = 6
BACK = 3
"""Filled columns that the path may look back, to leave a wrong branch."""
MARKED, STEADY = 1.6, 0.8
"""Least height of a marker in thicknesses of its line, and largest move of its middle in its own heights."""
LEAST_MARKER = 4.0  # pixels
MEETING, MEETING_SLACK = 2.0, 8.0
"""Pixels between the straight parts on both sides of a column that meet there, and from there to the line's own."""
SKIP = 4.0
"""Cost of skipping a filled column, in pixels."""


@dataclass(frozen=True)
class Trace:
    """A line by columns, from left to right: ``x``, upper and lower edge of its pixels."""

    x: NDArray[np.float64]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]

    @property
    def middle(self) -> NDArray[np.float64]:
        return (self.top + self.bottom) / 2

    @property
    def thickness(self) -> float:
        """Usual height of the line in a column, without its steep parts."""
        return float(np.quantile(self.bottom - self.top, 0.25))

    def vertices(self) -> list[float]:
        """Columns at which the line bends, ends included (Douglas and Peucker); of a marker, its middle column."""
        path = np.stack([self.x, self.middle], axis=1).astype(np.float32)[:, None]
        bends = [float(point[0][0]) for point in opencv().approxPolyDP(path, max(2.0, 0.8 * self.thickness), False)]
        for start, end in self.markers():
            if any(start - 2 <= x <= end + 2 for x in bends):
                bends = [x for x in bends if not start - 2 <= x <= end + 2] + [(start + end) / 2]
        return sorted(bends)

    def markers(self) -> list[tuple[float, float]]:
        """First and last column of each marker: a run where the line is thick, about as wide as high."""
        tall = self.bottom - self.top
        thick = np.flatnonzero(tall > MARKED * self.thickness)
        runs = np.split(thick, np.flatnonzero(np.diff(self.x[thick]) > 2) + 1) if len(thick) else []
        found = []
        for run in runs:
            height, width = float(tall[run].max()), float(np.ptp(self.x[run])) + 1
            calm = float(np.ptp(self.middle[run])) <= STEADY * height  # a steep part of a line is not
            if calm and width >= LEAST_MARKER and height / 3 <= width <= 2 * height:
                found.append((float(self.x[run[0]]), float(self.x[run[-1]])))
        return found

    def height(self, x: float, spacing: float) -> float | None:
        """Pixel row of the line at a column near which it may bend; None if the line isn't there.

        Args:
            x: the column
            spacing: columns between two bends
        """
        near = np.abs(self.x - x)
        if not len(near) or near.min() > max(3.0, 0.3 * spacing):
            return None
        at = near <= max(1.0, float(near.min()))
        top, bottom = float(self.top[at].min()), float(self.bottom[at].max())
        direct = self._direct(x, at)
        lines = [self._side(x, spacing, side) for side in (-1, 1)]
        known = [line for line in lines if line is not None]
        guess = _crossing(known, x) if known else None
        # Where both sides meet, they are better than the pixels between them, which another line may cover.
        meet = len(known) == 2 and abs(known[0][1] - known[1][1]) <= MEETING
        slack = MEETING_SLACK if meet else 2.5
        return guess if guess is not None and top - slack <= guess <= bottom + slack else direct

    def _direct(self, x: float, at: NDArray[np.bool_]) -> float:
        """The row from the pixels in the column itself: at a peak, its end; else the middle."""
        left, right = self.middle[self.x < x - 2][-3:], self.middle[self.x > x + 2][:3]
        top, bottom = float(self.top[at].min()), float(self.bottom[at].max())
        half = self.thickness / 2
        if len(left) and len(right) and bottom - top > 2 * self.thickness:
            if min(left.mean(), right.mean()) > (top + bottom) / 2:
                return top + half
            if max(left.mean(), right.mean()) < (top + bottom) / 2:
                return bottom - half
        return float(np.median(self.middle[at]))

    def _side(self, x: float, spacing: float, side: int) -> tuple[float, float] | None:
        """Slope and row at ``x`` of the straight part on one side."""
        away = (self.x - x) * side
        near = np.abs(self.x - x) <= 1.5
        marker = float((self.bottom[near] - self.top[near]).max()) if near.any() else 0.0
        start = min(2.0 + (marker / 2 if marker > 1.8 * self.thickness else 0.0), 0.25 * spacing)
        part = (away >= start) & (away <= min(max(0.45 * spacing, start + 4), 40.0))
        if part.sum() < 4:
            return None
        slope, row = np.polyfit(self.x[part] - x, self.middle[part], 1)
        residual = np.abs(self.middle[part] - (slope * (self.x[part] - x) + row))
        return (float(slope), float(row)) if float(np.median(residual)) <= 1.0 + 0.05 * abs(slope) else None


def _crossing(lines: Sequence[tuple[float, float]], x: float) -> float:
    """Row at which the straight parts on both sides meet."""
    if len(lines) == 1:
        return lines[0][1]
    (first, left), (second, right) = lines
    if abs(first - second) > 0.3:
        shift = (right - left) / (first - second)
        if abs(shift) <= 5:
            return left + first * shift
    return (left + right) / 2


def trace_of(mask: Mask) -> Trace | None:
    """The path of a line through a mask, column by column; None without pixels."""
    columns = [int(column) for column in np.flatnonzero(mask.any(axis=0))]
    runs = [_runs(mask[:, column]) for column in columns]
    if not columns:
        return None
    costs: list[list[float]] = []
    came: list[list[tuple[int, int] | None]] = []
    for index, here in enumerate(runs):
        best = [_best(index, run, columns, runs, costs) for run in here]
        costs.append([cost for cost, _ in best])
        came.append([origin for _, origin in best])
    path = _walk(runs, costs, came)
    return Trace(
        np.array([columns[index] for index, _ in path], dtype=np.float64) + 0.5,
        np.array([runs[index][run][0] for index, run in path], dtype=np.float64),
        np.array([runs[index][run][1] for index, run in path], dtype=np.float64),
    )


def _best(
    index: int, run: tuple[int, int], columns: Sequence[int], runs: Sequence[Sequence[tuple[int, int]]],
    costs: Sequence[Sequence[float]],
) -> tuple[float, tuple[int, int] | None]:  # fmt: skip
    best: tuple[float, tuple[int, int] | None] = (index * SKIP - 0.1 * min(run[1] - run[0], 5), None)
    for back in range(1, min(BACK, index) + 1):
        for place, other in enumerate(runs[index - back]):
            apart = max(0, run[0] - other[1], other[0] - run[1]) / max(columns[index] - columns[index - back], 1)
            bend = 0.05 * abs(run[0] + run[1] - other[0] - other[1])
            cost = costs[index - back][place] + apart + bend + SKIP * (back - 1)
            if cost < best[0]:
                best = (cost, (index - back, place))
    return best


def _walk(
    runs: Sequence[Sequence[tuple[int, int]]], costs: Sequence[Sequence[float]],
    came: Sequence[Sequence[tuple[int, int] | None]],
) -> list[tuple[int, int]]:  # fmt: skip
    """The cheapest path, from left to right."""
    last = len(runs) - 1
    ends = [(costs[index][place] + SKIP * (last - index), index, place) for index in range(max(0, last - 8), last + 1)
            for place in range(len(runs[index]))]  # fmt: skip
    _, index, place = min(ends)
    path = [(index, place)]
    while (origin := came[path[-1][0]][path[-1][1]]) is not None:
        path.append(origin)
    return path[::-1]


def _runs(column: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Start and end of the filled runs of a column; the longest ones if there are many."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(np.int8), [0]])))
    found = [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(found, key=lambda run: run[0] - run[1])[:MOST_RUNS]
