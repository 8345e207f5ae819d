"""Moves tick labels to the grid lines or tick marks that they name: a label's middle is off by a pixel or two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tools.vision.axes import ScaleAxis
from tools.vision.scale import Tick, fit
from tools.vision.scene import Lab, Scene

EDGE = 2.0
"""Least change of lightness across a line."""
CLEAR = 0.35
"""Least share of the searched columns in which a line shows."""
MARK = 14  # pixels beside the labels in which tick marks are searched


def snapped(axis: ScaleAxis, scene: Scene) -> ScaleAxis:
    """The axis with its scale fitted to lines beside the labels, if most labels have one at the same distance."""
    lab = scene.lab if axis.vertical else scene.lab.transpose(1, 0, 2)
    strength = _strength(lab, axis, scene)
    reach = max(4, round(0.5 * float(np.median([word.height for word in axis.words]))))
    found = [(tick, line) for tick in axis.scale.ticks if (line := _line(strength, tick.position, reach)) is not None]
    if len(found) < max(2, 0.6 * len(axis.scale.ticks)):
        return axis
    offsets = np.array([line - tick.position for tick, line in found])
    offset = float(np.median(offsets))
    kept = [
        Tick(line, tick.value) for (tick, line), away in zip(found, offsets, strict=True) if abs(away - offset) <= 2
    ]
    scale = fit(kept, least=2, tolerance=1.5, log=axis.scale.log)
    if scale is None or len(scale.ticks) < max(2, 0.5 * len(axis.scale.ticks)):
        return axis
    # Labels that have no line of their own keep their words, moved like the others.
    others = [
        replace(tick, position=tick.position + offset)
        for tick in axis.scale.ticks
        if all(tick is not t for t, _ in found)
    ]
    ticks = tuple(sorted((*scale.ticks, *others), key=lambda tick: tick.position))
    return replace(axis, scale=replace(scale, ticks=ticks))


def _strength(lab: Lab, axis: ScaleAxis, scene: Scene) -> NDArray[np.float64]:
    """For each row, how clearly a thin line shows: in the plot area, or as a tick mark beside the labels."""
    near = max((word.box[2] if axis.vertical else 0.0) for word in axis.words)
    far = min((word.box[0] if axis.vertical else word.box[1]) for word in axis.words)
    length = lab.shape[1]
    if axis.vertical and near < length / 2:
        marks, plot = (int(near), int(near) + MARK), (int(near), int(near + 0.85 * (length - near)))
    else:
        marks, plot = (int(far) - MARK, int(far)), (int(0.15 * far), int(far))
    light = lab[:, :, 0]
    return np.maximum(_share(light[:, slice(*plot)]), 0.7 * _share(light[:, slice(max(marks[0], 0), marks[1])]))


def _share(light: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of columns in which a row differs from the rows on both sides in the same direction."""
    share = np.zeros(light.shape[0])
    if light.shape[1] < 3 or light.shape[0] < 8:
        return share
    before, after = light[3:-3] - light[:-6], light[3:-3] - light[6:]
    line = (np.minimum(np.abs(before), np.abs(after)) > EDGE) & (before * after > 0)
    share[3:-3] = line.mean(axis=1)
    return share


def _line(strength: NDArray[np.float64], position: float, reach: int) -> float | None:
    """Middle of the clearest line near a position; None if none is clear."""
    low, high = max(int(position - reach), 0), min(int(position + reach) + 1, len(strength))
    part = strength[low:high]
    if not len(part) or part.max() < CLEAR:
        return None
    # Of several lines of the same clearness, the nearest; a thick line's middle is that of its rows.
    peaks = np.flatnonzero(part >= 0.75 * part.max())
    best = min(peaks, key=lambda row: abs(low + row + 0.5 - position))
    run = [row for row in peaks if abs(row - best) <= 2]
    weights = part[run]
    return float(low + 0.5 + np.average(run, weights=weights))
