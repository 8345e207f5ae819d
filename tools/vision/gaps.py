"""Divides text that was read as one line at gaps that are too wide for spaces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tools.vision.dates import is_date
from tools.vision.images import Pixels
from tools.vision.ocr import INK, Word
from tools.vision.readings import Box

WIDE = 0.75
"""Least width of a gap, in heights of the text."""
SAMPLE_GAP = 0.28
"""Least width of the gap between a legend's sample and its text, in heights of the text."""
COLOURED = 30
"""Least difference between the red, green and blue of a sample. A grey one could be a part of the text, or a tick."""
SLIVER = 2
"""Pixels at the begin of a word that are too narrow for a letter."""
SAMPLE = re.compile(r"[-–—一=oO0QDIl°•●○]{1,4}")
"""What samples of a legend are read as: short lines, circles and patches."""
BESIDE = 1.2
"""Largest gap between a sample and its text, in heights of the text."""
OTHER_COLOUR = 25
"""Least distance of a sample's colour from all mixtures of text and background, in levels of 0 to 255."""


def divided(word: Word, pixels: Pixels) -> list[Word]:
    """The pieces of a level word between wide gaps, each with its own box."""
    spaces = [match.start() for match in re.finditer(r"\s", word.text)]
    left, top, right, bottom = (max(round(edge), 0) for edge in word.box)
    if not spaces or not word.level or right - left < 3 * (bottom - top) or is_date(word.text):
        return [word]
    grey = pixels[top:bottom, left:right].astype(np.int16).mean(axis=2)
    ink = (np.abs(grey - np.median(grey)) > INK).any(axis=0)
    filled = np.flatnonzero(ink)
    breaks = np.flatnonzero(np.diff(filled) > WIDE * (bottom - top))
    if len(breaks) and breaks[0] < SLIVER:  # the end of a legend's sample
        filled = filled[breaks[0] + 1 :]
        box = (float(left + filled[0]), *word.box[1:])
        word, breaks = replace(word, box=box), breaks[1:] - breaks[0] - 1
    if not len(breaks):
        return [word]
    per = word.width / len(word.text)
    middles = [left + (filled[place] + filled[place + 1]) / 2 for place in breaks]
    cuts = sorted({min(spaces, key=lambda space: abs(word.box[0] + (space + 0.5) * per - x)) for x in middles})
    if len(cuts) != len(middles):
        cuts = spaces if len(spaces) == len(middles) else []
    if not cuts:
        return [word]
    starts = [int(filled[0]), *(int(filled[place + 1]) for place in breaks)]
    ends = [*(int(filled[place]) + 1 for place in breaks), int(filled[-1]) + 1]
    texts = [word.text[a + 1 : b].strip() for a, b in zip([-1, *cuts], [*cuts, len(word.text)], strict=True)]
    pieces = []
    for text, start, end in zip(texts, starts, ends, strict=True):
        box = (float(left + start), word.box[1], float(left + end), word.box[3])
        pieces.append(replace(word, text=text, box=box, anchor=((box[0] + box[2]) / 2, box[1])))
    return [piece for piece in pieces if piece.text] or [word]


def without_samples(words: Sequence[Word], pixels: Pixels) -> list[Word]:
    """Words without marks of series that were read as text.

    These are samples of a legend, such as ``-O-``, left of other text; and markers of lines, such as A for a triangle,
    whose colours text does not have.
    """
    colours = [_colour(word, pixels) for word in words]
    longer = [colour for word, colour in zip(words, colours, strict=True) if len(word.text) > 1]
    text = np.median(longer, axis=0) if len(longer) > len(words) / 2 else None
    return [
        word
        for word, colour in zip(words, colours, strict=True)
        if not _is_sample(word, words, pixels)
        and not (text is not None and _is_letter(word) and _differs(colour, text))
    ]


def _is_letter(word: Word) -> bool:
    return len(word.text) == 1 and word.text.isascii() and word.text.isalpha()


def _is_sample(word: Word, words: Sequence[Word], pixels: Pixels) -> bool:
    if not word.level or not SAMPLE.fullmatch(word.text):
        return False
    beside = [
        other
        for other in words
        if len(other.text) > 1 and abs(other.y - word.y) < 0.3 * other.height
        and -2 <= other.box[0] - word.box[2] <= BESIDE * other.height
    ]  # fmt: skip
    return any(_differs(_colour(word, pixels), _colour(other, pixels)) for other in beside)


def _colour(word: Word, pixels: Pixels) -> NDArray[np.float64]:
    """The usual colour of a word's ink, less that of the background, which is what is around its box."""
    left, top, right, bottom = (max(round(edge), 0) for edge in word.box)
    around = pixels[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2].astype(np.int16)
    edge = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
    paper = np.median(edge, axis=0)
    away = np.abs(around - paper).max(axis=2)
    return np.asarray(np.median(around[away >= min(INK, int(away.max()))], axis=0) - paper)


def _differs(sample: NDArray[np.float64], text: NDArray[np.float64]) -> bool:
    """Whether a sample's colour is another than that of text beside it, both less the background's.

    Small letters are mixed with the background, some more than others, so that only the direction counts.
    """
    along = text * float(sample @ text) / max(float(text @ text), 1.0)
    return float(np.linalg.norm(sample - along)) > OTHER_COLOUR and float(np.ptp(sample)) > COLOURED


def between_samples(word: Word, pixels: Pixels) -> list[Box]:
    """Boxes of the texts in a word that also contains samples of a legend: runs of another colour between gaps.

    Empty for ordinary words. The text of the pieces has to be recognised again.
    """
    left, top, right, bottom = (max(round(edge), 0) for edge in word.box)
    tall = bottom - top
    if not word.level or right - left < 2 * tall or tall < 5:
        return []
    part = pixels[top:bottom, left:right].astype(np.int16)
    away = np.abs(part - np.median(part, axis=(0, 1))).max(axis=2)
    filled = np.flatnonzero((away > INK).any(axis=0))
    if not len(filled):
        return []
    breaks = np.flatnonzero(np.diff(filled) > SAMPLE_GAP * tall)
    starts = [int(filled[0]), *(int(filled[place + 1]) for place in breaks)]
    ends = [*(int(filled[place]) + 1 for place in breaks), int(filled[-1]) + 1]
    runs = list(zip(starts, ends, strict=True))
    paper = np.median(part, axis=(0, 1))
    colours = [_strongest(part[:, start:end], away[:, start:end]) - paper for start, end in runs]
    text = colours[-1]  # a legend's text stands right of its sample
    samples = [
        end - start >= 0.4 * tall and _differs(colour, text) for (start, end), colour in zip(runs, colours, strict=True)
    ]
    return _texts(runs, samples, (left, top, bottom)) if any(samples) and not samples[-1] else []


def _texts(runs: list[tuple[int, int]], samples: list[bool], place: tuple[int, int, int]) -> list[Box]:
    """Boxes of the runs between samples."""
    left, top, bottom = place
    boxes: list[Box] = []
    fresh = True
    for (start, end), sample in zip(runs, samples, strict=True):
        if sample:
            fresh = True
        elif fresh:
            boxes.append((float(left + start), float(top), float(left + end), float(bottom)))
            fresh = False
        else:
            boxes[-1] = (boxes[-1][0], boxes[-1][1], float(left + end), boxes[-1][3])
    return boxes


def _strongest(part: NDArray[np.int16], away: NDArray[np.int16]) -> NDArray[np.float64]:
    """The usual colour of the pixels that differ most from the background."""
    return np.asarray(np.median(part[away >= np.quantile(away, 0.9)], axis=0))
