"""Legends: a small patch, line or marker of a series' colour with its name to the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tools.vision.libraries import opencv
from tools.vision.ocr import Word
from tools.vision.readings import Box
from tools.vision.scene import VISIBLE, Lab, Scene, distance

LONGEST = 5.5  # widths of a sample, in heights of its text
NEAR, FARTHER, OWN_WIDTHS = 1.8, 2.4, 1.3
"""Largest gap between a sample and its text: in heights of the text, and of wide samples in heights and widths."""
MOST_GROUNDS = 6
SMALL = 17
"""Pixels up to which a sample is not too high for its text, however small that is."""
REPEATED = 3
"""Least different colours of a legend whose colours may repeat, as a pie's do."""
APART = 10.0
"""Least distance between the colours of two entries."""
MATCH = 14.0
"""Largest distance between a series' colour and its legend's."""


@dataclass(frozen=True)
class LegendEntry:
    word: Word
    sample: Box
    colour: Lab


def legend_of(scene: Scene, words: Sequence[Word]) -> list[LegendEntry]:
    """Entries of the chart's legend, in reading order; empty without one."""
    found = _legend_on(scene, words)
    for ground in _grounds(scene, words) if len(found) < 2 else ():
        other = _legend_on(replace(scene, papers=(*scene.papers, ground)), words)
        if len(other) > 1:  # one number beside a mark on a slice or a bar is no legend
            found = max(found, other, key=len)
    return found


def _legend_on(scene: Scene, words: Sequence[Word]) -> list[LegendEntry]:
    cv2 = opencv()
    ink = scene.foreground() & ~scene.covered(words, 0)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8), connectivity=8)
    if count < 2:
        return []
    found = [entry for word in words if word.level for entry in _entries(scene, word, labels, stats)]
    return _agreeing(found)


def _grounds(scene: Scene, words: Sequence[Word]) -> list[Lab]:
    """Colours behind words that are none of the scene's backgrounds, such as a framed legend's."""
    found: list[Lab] = []
    for word in words:
        left, top, right, bottom = (max(round(edge), 0) for edge in word.box)
        around = scene.lab[max(top - 2, 0) : bottom + 2, left:right]
        if not around.size:
            continue
        ground = np.median(around.reshape(-1, 3), axis=0)
        if all(distance(ground, known) > VISIBLE / 2 for known in (*scene.papers, *found)):
            found.append(ground)
    return found[:MOST_GROUNDS]


def name_of(colour: Lab, legend: Sequence[LegendEntry]) -> str:
    """Name of the entry with the nearest colour; empty if none is near."""
    best = min(legend, key=lambda entry: float(distance(entry.colour, colour)), default=None)
    return best.word.text if best and distance(best.colour, colour) <= MATCH else ""


def _entries(scene: Scene, word: Word, labels: np.ndarray, stats: np.ndarray) -> list[LegendEntry]:
    left, top, _, bottom = (round(edge) for edge in word.box)
    tall = max(bottom - top, 7)
    start = max(int(left - LONGEST * tall - FARTHER * tall), 0)
    rows = slice(max(round(word.y - 0.25 * tall), 0), round(word.y + 0.25 * tall) + 1)
    window = labels[rows, start : max(left - 1, 0)]
    pieces = []
    for index in np.unique(window[window > 0]):
        x, y, width, height, _ = (int(value) for value in stats[index])
        small = height <= max(1.9 * tall, SMALL) and width <= LONGEST * tall
        if small and abs(y + height / 2 - word.y) <= 0.45 * tall and left - (x + width) >= -2:
            colour = _colour(scene, labels[y : y + height, x : x + width] == index, x, y)
            pieces.append(LegendEntry(word, (x, y, x + width, y + height), colour))
    sample = _sample(pieces, left, tall)
    return [sample] if sample else []


def _sample(pieces: list[LegendEntry], left: float, tall: float) -> LegendEntry | None:
    """The sample that ends nearest to the text; dashes of one colour make one sample."""
    whole: LegendEntry | None = None
    for piece in sorted(pieces, key=lambda one: -one.sample[2]):
        gap = (whole.sample[0] if whole else left) - piece.sample[2]
        width = piece.sample[2] - piece.sample[0]
        if whole is None and gap <= max(NEAR * tall, min(FARTHER * tall, OWN_WIDTHS * width)):
            whole = piece
        elif whole and gap <= 1.1 * tall and distance(piece.colour, whole.colour) < 2 * APART:
            box = (
                piece.sample[0], min(piece.sample[1], whole.sample[1]), whole.sample[2],
                max(piece.sample[3], whole.sample[3]),
            )  # fmt: skip
            whole = replace(whole, sample=box)
    width = whole.sample[2] - whole.sample[0] if whole else 0
    return whole if 0.25 * tall <= width <= LONGEST * tall else None


def _colour(scene: Scene, piece: np.ndarray, x: int, y: int) -> Lab:
    """The colour of a sample: the middle of its pixels that differ most from the background."""
    pixels = scene.lab[y : y + piece.shape[0], x : x + piece.shape[1]][piece]
    away = np.min([distance(pixels, paper) for paper in scene.papers], axis=0)
    eroded = opencv().erode(piece.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)[piece]
    if eroded.sum() >= 9:  # a patch: without its edge line
        return np.asarray(np.median(pixels[eroded], axis=0), dtype=np.float32)
    return np.asarray(np.median(pixels[away >= np.quantile(away, 0.6)], axis=0), dtype=np.float32)


def _agreeing(found: Sequence[LegendEntry]) -> list[LegendEntry]:
    """The largest set of entries in one column, row or block, with different colours and samples of one size."""
    best: list[LegendEntry] = []
    for seed in found:
        group: list[LegendEntry] = []
        for entry in found:
            fits = _alike(seed, entry) and all(distance(entry.colour, known.colour) > APART for known in group)
            if entry is seed or fits:
                group.append(entry)
        if len(group) > len(best):
            best = group
    if len(best) >= REPEATED:
        best = [*best, *(entry for entry in found if _repeats(entry, best))]
    return sorted(best, key=lambda entry: (round(entry.word.y / 8), entry.word.x))


def _repeats(entry: LegendEntry, group: Sequence[LegendEntry]) -> bool:
    """Whether an entry continues the group's row or column in a colour that the group has already."""
    fresh = all(entry is not known and entry.word is not known.word for known in group)
    again = any(distance(entry.colour, known.colour) <= APART for known in group)
    return fresh and again and all(_alike(known, entry) for known in group)


def _alike(first: LegendEntry, second: LegendEntry) -> bool:
    width = (first.sample[2] - first.sample[0], second.sample[2] - second.sample[0])
    if abs(width[0] - width[1]) > max(3.0, 0.35 * max(width)):
        return False
    column = abs(first.sample[0] - second.sample[0]) <= 4
    row = abs(first.word.y - second.word.y) <= 0.5 * first.word.height
    gaps = [entry.word.box[0] - entry.sample[2] for entry in (first, second)]
    return (column or row) and abs(gaps[0] - gaps[1]) <= max(5.0, 0.6 * first.word.height)
