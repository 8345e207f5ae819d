"""Straight rules of a table: positions of its long level and upright lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.vision.libraries import opencv
from tools.vision.scene import Mask, Scene

STEP = 5.0
"""Least distance of a rule's colour from its neighbours across it."""


@dataclass(frozen=True)
class Rules:
    """Pixel rows of level rules and pixel columns of upright ones, in order."""

    level: tuple[float, ...]
    upright: tuple[float, ...]


def rules_of(scene: Scene) -> Rules:
    """Rules longer than a third of the area with text."""
    left = min((word.box[0] for word in scene.words), default=0.0)
    right = max((word.box[2] for word in scene.words), default=float(scene.width))
    top = min((word.box[1] for word in scene.words), default=0.0)
    bottom = max((word.box[3] for word in scene.words), default=float(scene.height))
    text = scene.covered(scene.words, 0)
    level = _steps(scene.lab) & ~text
    upright = _steps(scene.lab.transpose(1, 0, 2)).T & ~text
    return Rules(_places(level, max(int((right - left) / 3), 20)), _places(upright.T, max(int((bottom - top) / 3), 20)))


def _steps(lab: NDArray[np.float32]) -> Mask:
    """Pixels whose colour differs from the row above or below: rules, and edges of shaded rows."""
    change = np.sqrt(((lab[1:] - lab[:-1]) ** 2).sum(axis=2)) > STEP
    mask = np.zeros(lab.shape[:2], dtype=bool)
    mask[1:] |= change
    return mask


def _places(mask: Mask, length: int) -> tuple[float, ...]:
    cv2 = opencv()
    kernel = np.ones((1, max(length // 4, 12)), np.uint8)
    long = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel).sum(axis=1) >= length
    rows = np.flatnonzero(long)
    if not len(rows):
        return ()
    groups = np.split(rows, np.flatnonzero(np.diff(rows) > 4) + 1)
    return tuple(float(group.mean()) for group in groups)
