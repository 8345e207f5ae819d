"""Finds text that the detector missed, from the shapes of letters: it misses lone digits and some short labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tools.vision.images import Pixels
from tools.vision.libraries import opencv
from tools.vision.ocr import Word, recognised
from tools.vision.readings import Box
from tools.vision.scene import Mask

CONTRAST = 40
"""Least difference of a letter from the background, in levels of 0 to 255."""
MOST_PIECES = 120
SURE, SURE_ALONE = 0.85, 0.9
"""Least scores of text of several letters, and of one digit."""
SOLID = 0.86
"""Share of its box above which a shape is a patch, not a letter."""


def missed_words(pixels: Pixels, found: Sequence[Word]) -> list[Word]:
    """Words outside those that were ``found``, of about their height."""
    level = [word for word in found if word.level]
    if not level:
        return []
    heights = [word.height for word in level]
    low, high = 0.6 * float(np.quantile(heights, 0.1)), 1.4 * float(np.quantile(heights, 0.8))
    ink = _ink(pixels)
    for word in found:
        left, top, right, bottom = (round(edge) for edge in word.box)
        ink[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = False
    boxes = _lines(_letters(ink, low, high), float(np.median(heights)))[:MOST_PIECES]
    dark = _ink_colour(pixels, level)
    read = recognised(pixels, [_padded(box) for box in boxes])
    words = []
    for box, (text, score) in zip(boxes, read, strict=True):
        if _is_word(text, score) and (len(text) > 1 or _has_colour(pixels, box, dark)):
            words.append(Word(text, box, score, 0.0, ((box[0] + box[2]) / 2, box[1])))
    return words


def _ink(pixels: Pixels) -> Mask:
    edge = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3), pixels[:, :3].reshape(-1, 3)])
    paper = np.median(edge, axis=0)
    return np.asarray(np.abs(pixels.astype(np.int16) - paper).max(axis=2) > CONTRAST)


def _letters(ink: Mask, low: float, high: float) -> list[tuple[int, int, int, int]]:
    """Boxes of isolated shapes of a letter's size."""
    cv2 = opencv()
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    boxes = []
    for left, top, width, height, area in stats[1:count].tolist():
        solid = area > SOLID * width * height and width > 0.35 * height
        if low <= height <= high and width <= 1.6 * high and not solid:
            boxes.append((left, top, left + width, top + height))
    return boxes


def _lines(letters: Sequence[tuple[int, int, int, int]], tall: float) -> list[Box]:
    """Boxes of neighbouring letters, joined from left to right."""
    lines: list[list[Any]] = []
    for box in sorted(letters):
        for line in lines:
            together = min(line[3], box[3]) - max(line[1], box[1]) > 0.5 * min(line[3] - line[1], box[3] - box[1])
            if together and -2 <= box[0] - line[2] <= 0.7 * tall:
                line[:] = [line[0], min(line[1], box[1]), max(line[2], box[2]), max(line[3], box[3])]
                break
        else:
            lines.append(list(box))
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in lines]


def _padded(box: Box) -> Box:
    margin = max(3.0, 0.25 * (box[3] - box[1]))
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _is_word(text: str, score: float) -> bool:
    if len(text) == 1:
        return text.isdigit() and score >= SURE_ALONE
    return score >= SURE and sum(character.isalnum() for character in text) >= 0.5 * len(text) and len(set(text)) > 1


def _ink_colour(pixels: Pixels, words: Sequence[Word]) -> np.ndarray:
    """The usual colour of text."""
    colours = []
    for word in words[:60]:
        left, top, right, bottom = (max(round(edge), 0) for edge in word.box)
        part = pixels[top:bottom, left:right].reshape(-1, 3).astype(np.int16)
        if len(part):
            colours.append(part[np.abs(part - np.median(part, axis=0)).sum(axis=1).argmax()])
    return np.asarray(np.median(colours, axis=0))


def _has_colour(pixels: Pixels, box: Box, colour: np.ndarray) -> bool:
    left, top, right, bottom = (int(edge) for edge in box)
    part = pixels[top:bottom, left:right].reshape(-1, 3).astype(np.int16)
    return bool(len(part)) and int(np.abs(part - colour).max(axis=1).min()) < 60
