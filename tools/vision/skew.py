"""Straightens scans: finds by how much the lines of an image are turned, and turns it back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.vision.images import Pixels
from tools.vision.libraries import opencv

LEAST, MOST = 0.25, 5.0
"""Degrees below which an image counts as straight, and above which lines are slanted on purpose."""
LONG = 0.15
"""Least length of a line that is considered, as a share of the image's shorter side."""
MOST_LINES = 1000
ALIKE = 0.25
"""Degrees between lines of one direction."""
AGREED = 0.6
"""Least share of the length of nearly level, and of nearly upright lines, that is turned by one angle."""


def skew_of(pixels: Pixels) -> float:
    """Degrees by which an image (height, width, 3) is turned counter-clockwise; 0.0 if it is straight.

    Level and upright lines must be turned by the same angle, so that a sloping curve turns nothing.
    """
    cv2 = opencv()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    if found is None:
        return 0.0
    x1, y1, x2, y2 = found.reshape(-1, 4).T.astype(np.float64)
    length = np.hypot(x2 - x1, y2 - y1)
    angle = (np.degrees(np.arctan2(y1 - y2, x2 - x1)) + 45) % 90 - 45  # from the nearest axis
    upright = np.abs(y2 - y1) > np.abs(x2 - x1)
    least = max(LONG * min(pixels.shape[:2]), float(np.sort(length)[-MOST_LINES:][0]))
    kept = (length >= least) & (np.abs(angle) <= MOST)
    level = _usual(angle[kept & ~upright], length[kept & ~upright])
    steep = _usual(angle[kept & upright], length[kept & upright])
    if level is None or steep is None or abs(level - steep) > 2 * ALIKE:
        return 0.0
    both = float(np.average([level, steep]))
    return both if abs(both) >= LEAST else 0.0


def straightened(pixels: Pixels, skew: float) -> tuple[Pixels, NDArray[np.float64]]:
    """The image turned back by ``skew`` degrees, and the matrix (2, 3) from its positions to those in the original."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    cos, sin = abs(math.cos(math.radians(skew))), abs(math.sin(math.radians(skew)))
    wide, tall = math.ceil(width * cos + height * sin), math.ceil(height * cos + width * sin)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -skew, 1.0)
    matrix[:, 2] += (wide - width) / 2, (tall - height) / 2
    paper = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0)
    turned: Pixels = cv2.warpAffine(
        pixels, matrix, (wide, tall), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=paper.tolist()
    )
    back: NDArray[np.float64] = cv2.invertAffineTransform(matrix)
    return turned, back


def _usual(angles: NDArray[np.float64], lengths: NDArray[np.float64]) -> float | None:
    """The angle that most of the lines' length has; None if there is none."""
    if not len(angles):
        return None
    near: Sequence[Any] = [np.abs(angles - angle) <= ALIKE for angle in angles]
    best = max(near, key=lambda mask: float(lengths[mask].sum()))
    if lengths[best].sum() < AGREED * lengths.sum():
        return None
    return float(np.average(angles[best], weights=lengths[best]))
