"""Reads the title of a vertical axis as one line: detection finds pieces of upright text, and misses some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.vision.images import Pixels
from tools.vision.numerals import numeral
from tools.vision.ocr import INK, Word, recognised_upright
from tools.vision.readings import Box

STEEP = 60.0
"""Degrees above which text is upright."""
GAP = 1.0
"""Largest gap between two pieces of a title, in heights of the text."""
SURE = 0.8
"""Least score of the whole title."""


def whole_title(pixels: Pixels, words: Sequence[Word]) -> list[Word]:
    """The words with those of the vertical axis's title, left of its tick labels, as one."""
    edges = [word.box[0] for word in words if word.level and numeral(word.text) and word.width > 0.5 * word.height]
    turned = [word for word in words if abs(word.angle) > STEEP]
    if len(edges) < 2 or not turned:
        return list(words)
    first = min(turned, key=lambda word: word.x)
    column = [word for word in turned if first.box[0] < word.x < first.box[2]]
    left, right = min(word.box[0] for word in column), max(word.box[2] for word in column)
    edges = [edge for edge in edges if edge > right - 2]
    if len(edges) < 2 or right > min(edges) + 2:
        return list(words)
    top, bottom = min(word.box[1] for word in column), max(word.box[3] for word in column)
    box = _extended(pixels, (left, top, right, bottom))
    if len(column) == 1 and top - box[1] < right - left and box[3] - bottom < right - left:
        return list(words)
    inside = [word for word in words if left - 2 <= word.x <= right + 2 and box[1] <= word.y <= box[3]]
    text, score = recognised_upright(pixels, box, upwards=column[0].angle > 0)
    letters = sum(len(word.text.replace(" ", "")) for word in inside)
    if score < SURE or len(text.replace(" ", "")) < letters:
        return list(words)
    title = Word(text, box, score, column[0].angle, ((box[0] + box[2]) / 2, box[1]))
    return [*(word for word in words if word not in inside), title]


def _extended(pixels: Pixels, box: Box) -> Box:
    """The box with the ink above and below it in its columns, up to a wide gap."""
    left, top, right, bottom = (max(round(edge), 0) for edge in box)
    grey = pixels[:, left:right].astype(np.int16).mean(axis=2)
    filled = (np.abs(grey - np.median(grey)) > INK).any(axis=1)
    reach = round(GAP * (right - left))
    start, end = top, min(bottom, len(filled) - 1)
    while (above := np.flatnonzero(filled[max(start - reach, 0) : start])).size:
        start = max(start - reach, 0) + int(above[0])
    while (below := np.flatnonzero(filled[end + 1 : end + 1 + reach])).size:
        end += 1 + int(below[-1])
    margin = 0.15 * (right - left)
    return (float(left), max(start - margin, 0.0), float(right), min(end + 1 + margin, float(len(filled))))
