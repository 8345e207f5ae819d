"""An image prepared for reading: its colours, its words and its background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.vision.images import Pixels
from tools.vision.libraries import opencv
from tools.vision.ocr import Word

Lab = NDArray[np.float32]
"""Colours in CIE L*a*b*, last axis of size 3. Distances of 2 are just visible."""
Mask = NDArray[np.bool_]

SAME_COLOUR = 9.0
"""Largest distance between pixels of one fill, noise of JPEG included."""
VISIBLE = 6.0
"""Least distance of a mark from the background."""
FLAT = 14
"""Largest difference between neighbours inside a fill, in levels of 0 to 255."""
BIN = 4.0
LOWEST = np.array([0.0, -128.0, -128.0], dtype=np.float32)
SIDE = 66
"""Bins along one axis of the colours."""


@dataclass(frozen=True)
class Scene:
    """Pixels (height, width, 3) in RGB, smoothed colours, words, and colours of the background."""

    pixels: Pixels
    lab: Lab
    smooth: Lab
    """Colours after a 3 x 3 median filter, which removes thin lines and noise."""
    words: tuple[Word, ...]
    papers: tuple[Lab, ...]
    """Background colours: of the page, and of the plot area if it has its own."""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def foreground(self, threshold: float = 2 * VISIBLE) -> Mask:
        """Pixels that differ from every background colour."""
        return np.asarray(np.min([distance(self.lab, paper) for paper in self.papers], axis=0) > threshold)

    def covered(self, words: Sequence[Word], margin: int = 1) -> Mask:
        """Pixels under the boxes of words."""
        mask = np.zeros((self.height, self.width), dtype=bool)
        for word in words:
            left, top, right, bottom = (round(edge) for edge in word.box)
            mask[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
        return mask


def scene_of(pixels: Pixels, words: Sequence[Word]) -> Scene:
    """Prepares an image of shape (height, width, 3)."""
    lab = to_lab(pixels)
    smooth = to_lab(opencv().medianBlur(pixels, 3))
    bare = Scene(pixels, lab, smooth, tuple(words), ())
    return Scene(pixels, lab, smooth, tuple(words), tuple(_papers(bare)))


def to_lab(pixels: Pixels) -> Lab:
    cv2 = opencv()
    lab: Lab = cv2.cvtColor(pixels.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    return lab


def hex_of(colour: Lab) -> str:
    """``#rrggbb`` of one colour."""
    cv2 = opencv()
    rgb = cv2.cvtColor(np.asarray(colour, dtype=np.float32).reshape(1, 1, 3), cv2.COLOR_LAB2RGB)
    red, green, blue = (round(float(np.clip(level, 0, 1)) * 255) for level in rgb[0, 0])
    return f"#{red:02x}{green:02x}{blue:02x}"


def distance(colours: Lab, colour: Lab) -> NDArray[np.float32]:
    """Euclidean distance of each colour from one (CIE 1976)."""
    return np.sqrt(np.sum((colours - colour) ** 2, axis=-1, dtype=np.float32))


def flat_pixels(pixels: Pixels) -> Mask:
    """Pixels whose 3 x 3 neighbourhood, after median filtering, has one colour."""
    cv2 = opencv()
    calm = cv2.medianBlur(pixels, 3)
    square = np.ones((3, 3), np.uint8)
    span = cv2.dilate(calm, square).astype(np.int16) - cv2.erode(calm, square)
    return np.asarray(span.max(axis=2) <= FLAT)


def common_colours(colours: Lab, least: int, apart: float = SAME_COLOUR) -> list[tuple[Lab, int]]:
    """Most common colours of a list (n, 3) with their numbers of pixels, most common first.

    A colour that is nearer than ``apart`` to a more common one belongs to that.
    """
    if not len(colours):
        return []
    steps = np.round((colours - LOWEST) / BIN).astype(np.int32)
    keys = (steps[:, 0] * SIDE + steps[:, 1]) * SIDE + steps[:, 2]
    every = np.bincount(keys)
    present = np.flatnonzero(every)
    counts = every[present]
    sums = np.stack([np.bincount(keys, weights=colours[:, level])[present] for level in range(3)], axis=1)
    means = (sums / counts[:, None]).astype(np.float32)
    found: list[tuple[Lab, int]] = []
    for place in np.argsort(-counts)[:400]:
        near = next((i for i, (known, _) in enumerate(found) if distance(means[place], known) < apart), None)
        if near is None:
            found.append((means[place], int(counts[place])))
        else:
            found[near] = (found[near][0], found[near][1] + int(counts[place]))
    return sorted(((colour, count) for colour, count in found if count >= least), key=lambda one: -one[1])


def _papers(scene: Scene) -> list[Lab]:
    """The page's colour, from the border, and the plot area's, which is spread over most of the image."""
    edge = np.concatenate([scene.lab[:2].reshape(-1, 3), scene.lab[-2:].reshape(-1, 3), scene.lab[:, :2].reshape(-1, 3),
                           scene.lab[:, -2:].reshape(-1, 3)])  # fmt: skip
    page = common_colours(edge, 1)[0][0]
    flat = flat_pixels(scene.pixels)
    total = flat.size
    papers = [page]
    for colour, count in common_colours(scene.smooth[flat], total // 25, apart=VISIBLE / 2)[:6]:
        if distance(colour, page) < VISIBLE / 2 or count < total * 0.08:
            continue
        if _surrounds(distance(scene.smooth, colour) < VISIBLE, scene):
            papers.append(colour)
            break
    return papers


def _surrounds(mask: Mask, scene: Scene) -> bool:
    """Whether a colour fills the frame of its own bounding box, as a plot area does and marks don't.

    The box is that of its largest part, since a legend's may have the same background. Grid lines don't divide it.
    """
    cv2 = opencv()
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    mask = mask & (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))) if len(stats) > 1 else mask
    rows, columns = np.flatnonzero(mask.mean(axis=1) > 0.1), np.flatnonzero(mask.mean(axis=0) > 0.1)
    if len(rows) < scene.height * 0.4 or len(columns) < scene.width * 0.4:
        return False
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = 4
    sides = (inside[:depth], inside[:, :depth], inside[:, -depth:])
    filled = sum(float(side.max(axis=axis).mean() > 0.75) for side, axis in zip(sides, (0, 1, 1), strict=True))
    return filled >= 3 and float(np.mean(inside)) > 0.25
