"""Text in reading order: lines joined, blocks from top to bottom."""

from __future__ import annotations

import numpy as np

from tools.vision.axes import text_rows
from tools.vision.ocr import Word
from tools.vision.readings import TextLine, TextReading
from tools.vision.scene import Scene

WIDE = 3.0
"""Gap between two words, in heights, above which they are in different blocks."""


def read_text(scene: Scene) -> TextReading:
    """All text of the image. Words of one line are joined, unless a wide gap divides them."""
    lines: list[TextLine] = []
    for row in text_rows(scene.words):
        part: list[Word] = []
        for word in row:
            if part and word.box[0] - part[-1].box[2] > WIDE * max(word.height, part[-1].height):
                lines.append(_line(part))
                part = []
            part.append(word)
        lines.append(_line(part))
    return TextReading(tuple(lines))


def _line(words: list[Word]) -> TextLine:
    boxes = np.array([word.box for word in words])
    low, high = boxes.min(axis=0), boxes.max(axis=0)
    box = (float(low[0]), float(low[1]), float(high[2]), float(high[3]))
    return TextLine(" ".join(word.text for word in words), box, float(np.mean([word.score for word in words])))
