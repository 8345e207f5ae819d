"""Reads an image: a chart, a table or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tools.vision.axes import scale_axes
from tools.vision.bars import read_bars
from tools.vision.chart_parts import ChartParts
from tools.vision.exponents import with_exponents
from tools.vision.fills import coloured_areas
from tools.vision.gaps import between_samples, divided, without_samples
from tools.vision.images import Picture, Pixels, load
from tools.vision.layout import read_text
from tools.vision.legend import legend_of
from tools.vision.libraries import opencv
from tools.vision.lines import read_lines
from tools.vision.missed import missed_words
from tools.vision.moving import moved
from tools.vision.ocr import Word, recognised, words
from tools.vision.pies import read_pie
from tools.vision.readings import Box, ChartReading, Reading, TableReading, TextReading
from tools.vision.scene import scene_of
from tools.vision.skew import skew_of, straightened
from tools.vision.snapping import snapped
from tools.vision.tables import read_table
from tools.vision.upright import whole_title

LONGEST_SIDE = 1800
"""Pixels; larger images are scaled down for reading, which bounds its time and memory."""
LEAST_BARS = 3
LARGE_SIGN, LEANING = 0.25, 20.0
"""A lone sign of this share of the image's shorter side that leans by this many degrees is a drawn shape."""
TOWERING, UNSURE = 3.5, 0.9
"""One or two letters that are this many times as tall as other text, and whose score is lower, are a drawn shape."""
CERTAIN_TABLE = 0.8
"""Share of cells with text above which a table is certain."""


def read_image(data: bytes) -> Reading:
    """Reads a PNG, JPEG or WebP file.

    Raises:
        ImageRefused: the file is damaged, of another format or above a limit.
        VisionMissing: the optional libraries are not installed.
    """
    return read_picture(load(data))


def read_picture(picture: Picture) -> Reading:
    """Reads a decoded image. Pixel positions in the result are those of ``picture``."""
    factor = min(1.0, LONGEST_SIDE / max(picture.width, picture.height))
    pixels = _scaled(picture.pixels, factor)
    skew = skew_of(pixels)
    if not skew:
        return moved(_read(pixels), 1 / factor)
    straight, back = straightened(pixels, skew)
    return moved(_read(straight), 1 / factor, back)


def _read(pixels: Pixels) -> ChartReading | TableReading | TextReading:
    found = all_words(pixels)
    scene = scene_of(pixels, found)
    parts = ChartParts(
        scene, tuple(snapped(axis, scene) for axis in scale_axes(found, vertical=True)),
        tuple(snapped(axis, scene) for axis in scale_axes(found, vertical=False)),
        tuple(legend_of(scene, found)), tuple(coloured_areas(scene)),
    )  # fmt: skip
    chart = read_pie(parts) or read_bars(parts)
    if chart and len(chart.series[0].points) >= LEAST_BARS:
        return chart
    # A shaded header is a rectangle too, so that a chart of one or two bars is less certain than a table.
    table = read_table(scene)
    if table and table.filled >= CERTAIN_TABLE:
        return table
    # Grid lines look like a table's rules, but only some of their cells have text.
    return read_lines(parts) or chart or table or read_text(scene)


def all_words(pixels: Pixels) -> list[Word]:
    """Text that is detected, that was missed, none of it across wide gaps, and an upright title as one line."""
    found = without_shapes(words(pixels), pixels)
    whole = [*found, *missed_words(pixels, found)]
    mixed = [(word, boxes) for word in whole if (boxes := between_samples(word, pixels))]
    again = [(word, box) for word, boxes in mixed for box in boxes]
    read = recognised(pixels, [_padded(box) for _, box in again])
    pieces = [replace(word, text=text, box=box) for (word, box), (text, _) in zip(again, read, strict=False) if text]
    left = [word for word in whole if all(word is not other for other, _ in mixed)]
    apart = [piece for word in [*left, *pieces] for piece in divided(word, pixels)]
    text = with_exponents(pixels, without_samples(apart, pixels))
    return sorted(whole_title(pixels, text), key=lambda word: (word.y, word.x))


def without_shapes(found: Sequence[Word], pixels: Pixels) -> list[Word]:
    """Words without drawn shapes that were read as letters: a pie as D, edges of its slices as Y, a bar as l."""
    usual = float(np.median([word.height for word in found if word.level and len(word.text) > 2] or [np.inf]))
    return [word for word in found if not _leans(word, pixels) and not _towers(word, usual)]


def _leans(word: Word, pixels: Pixels) -> bool:
    least = LARGE_SIGN * min(pixels.shape[:2])
    return len(word.text) == 1 and abs(word.angle) > LEANING and min(word.width, word.height) > least


def _towers(word: Word, usual: float) -> bool:
    return len(word.text) <= 2 and word.score < UNSURE and min(word.width, word.height) > TOWERING * usual


def _padded(box: Box) -> Box:
    margin = 0.12 * (box[3] - box[1])
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _scaled(pixels: Pixels, factor: float) -> Pixels:
    if factor == 1.0:
        return pixels
    cv2 = opencv()
    size = max(round(pixels.shape[1] * factor), 1), max(round(pixels.shape[0] * factor), 1)
    smaller: Pixels = np.ascontiguousarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return smaller
