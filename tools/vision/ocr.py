"""Finds and recognises text with RapidOCR (PP-OCR models for Chinese and English, from the rapidocr wheel)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tools.vision.images import Pixels
from tools.vision.libraries import opencv, rapidocr
from tools.vision.readings import Box, Boxed

LEAST_SCORE = 0.5
MOST_WORDS = 600
DETECTION_SIDE = 736  # pixels of the shorter side; smaller images are enlarged for detection
SHORTER_SIDE = 850
"""Pixels of the shorter side above which detection, whose time grows with the area, gets a smaller image."""
LEVEL_BONUS = 0.3
LONGEST = 3
"""Largest ratio of an image's sides for detection."""
UPRIGHT = 20.0  # degrees within which text counts as level
SIGNS = ("-", "–", "—", "+", "%", "$", "€", "?", "*", "✓", "×")
INK = 60  # grey levels between ink and paper


@dataclass(frozen=True)
class Word(Boxed):
    """A line of text as printed: one or more words on one line."""

    text: str
    box: Box
    score: float
    angle: float = 0.0
    """Degrees counter-clockwise in which the text runs: 0 level, 90 upwards, -90 downwards."""
    anchor: tuple[float, float] = (0.0, 0.0)
    """Middle of the end of the text that is higher in the image, where slanted labels touch their axis."""

    @property
    def level(self) -> bool:
        return abs(self.angle) < UPRIGHT


@cache
def _engine() -> Any:
    return rapidocr().RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_side_len": DETECTION_SIDE,
            "Rec.rec_img_shape": [3, 48, 96],  # least width of a batch; the default of 320 wastes time on numbers
        }
    )


def words(pixels: Pixels) -> list[Word]:
    """Text in an image (height, width, 3), RGB, at most `MOST_WORDS` pieces. Raises VisionMissing."""
    engine = _engine()
    image = _padded(np.ascontiguousarray(pixels[:, :, ::-1]))
    factor = max(min(1.0, SHORTER_SIDE / min(image.shape[:2])), 0.5)
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    smaller = image if factor == 1.0 else opencv().resize(image, size, interpolation=opencv().INTER_AREA)
    found = engine(smaller, use_det=True, use_cls=False, use_rec=False)
    quads = [] if found.boxes is None else [np.asarray(quad, dtype=np.float32) / factor for quad in found.boxes]
    quads = sorted(quads, key=lambda quad: -_area(quad))[:MOST_WORDS]
    crops, owners = _crops(image, quads)
    if not crops:
        return []
    read = engine.recognize_txt([crop for crop, _ in crops])
    best: dict[int, Word] = {}
    fairest: dict[int, float] = {}
    for owner, (_, angle), text, score in zip(owners, crops, read.txts, read.scores, strict=True):
        # A lone digit is often as sure on its side: 8, 0, 1. So level text is preferred.
        fair = float(score) + (LEVEL_BONUS if abs(angle) < UPRIGHT and str(text).strip().isdigit() else 0.0)
        if owner not in best or fair > fairest[owner]:
            fairest[owner] = fair
            best[owner] = _word(quads[owner], str(text).strip(), float(score), angle)
    kept = [word for word in best.values() if word.score >= LEAST_SCORE and _is_text(word.text)]
    kept = [word for word in kept if not _is_column(word)]
    return [_tight(word, pixels) for word in sorted(kept, key=lambda word: (word.y, word.x))]


def _is_column(word: Word) -> bool:
    """Whether an upright column of marks, such as a legend's samples, was read as a letter or two."""
    long, short = max(word.width, word.height), min(word.width, word.height)
    return not word.level and len(word.text) <= 2 and long > 1.8 * max(short, 1.0)


def _padded(image: Pixels) -> Pixels:
    """The image with blank space at the right or the bottom, so that it is at most `LONGEST` times as long as wide.

    Detection enlarges the shorter side to `DETECTION_SIDE`, which a strip of a few pixels would turn into gigabytes.
    """
    height, width = image.shape[:2]
    tall, wide = max(height, -(-width // LONGEST)), max(width, -(-height // LONGEST))
    if (tall, wide) == (height, width):
        return image
    padded: Pixels = opencv().copyMakeBorder(
        image,
        0,
        tall - height,
        0,
        wide - width,
        opencv().BORDER_CONSTANT,
        value=[int(level) for level in image[-1, -1]],
    )
    return padded


def _is_text(text: str) -> bool:
    """Whether there is a letter or digit, or a lone sign of a table; marks of charts are taken for other signs."""
    if re.fullmatch(r"[Il|]{3,}|(\D)\1{4,}", text):  # minor ticks, or a steep line
        return False
    return any(character.isalnum() for character in text) or text in SIGNS


def recognised(pixels: Pixels, boxes: Sequence[Box]) -> list[tuple[str, float]]:
    """Text of level boxes, without detection, with its score. For places where text is known to be."""
    crops = []
    for box in boxes[:MOST_WORDS]:
        left, top, right, bottom = (max(round(edge), 0) for edge in box)
        crops.append(np.ascontiguousarray(pixels[top:bottom, left:right, ::-1]))
    if not crops:
        return []
    read = _engine().recognize_txt(crops)
    return [(str(text).strip(), float(score)) for text, score in zip(read.txts, read.scores, strict=True)]


def recognised_upright(pixels: Pixels, box: Box, *, upwards: bool) -> tuple[str, float]:
    """Text of one upright box that runs upwards or downwards, without detection, with its score."""
    left, top, right, bottom = (max(round(edge), 0) for edge in box)
    if right - left < 3 or bottom - top < 3:
        return "", 0.0
    level = np.rot90(pixels[top:bottom, left:right, ::-1], 3 if upwards else 1)
    read = _engine().recognize_txt([np.ascontiguousarray(level)])
    return str(read.txts[0]).strip(), float(read.scores[0])


def _crops(image: Pixels, quads: list[Any]) -> tuple[list[tuple[Pixels, float]], list[int]]:
    """Images of the texts, made level, and the quad of each. A tall box is read in both directions."""
    crops: list[tuple[Pixels, float]] = []
    owners = []
    for index, quad in enumerate(quads):
        flat = _flattened(image, quad)
        if flat is None:
            continue
        run = math.degrees(math.atan2(quad[0][1] - quad[1][1], quad[1][0] - quad[0][0]))
        tall = flat.shape[0] > 1.5 * flat.shape[1]
        ways = [(1, run - 90), (3, run + 90)] if tall else [(0, run)]
        if 1.2 < flat.shape[0] / flat.shape[1] <= 2.4:  # a lone digit is as tall as a short upright word
            ways = [(0, run), (1, run - 90), (3, run + 90)]
        for turns, angle in ways:
            crops.append((np.ascontiguousarray(np.rot90(flat, turns)), angle))
            owners.append(index)
    return crops, owners


def _flattened(image: Pixels, quad: Any) -> Pixels | None:
    cv2 = opencv()
    width = int(max(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[2] - quad[3])))
    height = int(max(np.linalg.norm(quad[0] - quad[3]), np.linalg.norm(quad[1] - quad[2])))
    if width < 3 or height < 3:
        return None
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(quad, corners)
    flat: Pixels = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return flat


def _area(quad: Any) -> float:
    return float(np.linalg.norm(quad[0] - quad[1]) * np.linalg.norm(quad[1] - quad[2]))


def _word(quad: Any, text: str, score: float, angle: float) -> Word:
    left, top = quad.min(axis=0)
    right, bottom = quad.max(axis=0)
    turned = (angle + 180) % 360 - 180
    box = (float(left), float(top), float(right), float(bottom))
    return Word(text, box, score, turned, _upper_end(quad, turned))


def _upper_end(quad: Any, angle: float) -> tuple[float, float]:
    """Middle of the side where text of this angle begins or ends, whichever is higher in the image."""
    run = math.degrees(math.atan2(quad[0][1] - quad[1][1], quad[1][0] - quad[0][0]))
    along = abs((angle - run + 180) % 360 - 180) < 45
    sides = ((0, 3), (1, 2)) if along else ((0, 1), (2, 3))
    ends = [(quad[first] + quad[second]) / 2 for first, second in sides]
    higher = min(ends, key=lambda end: end[1])
    return float(higher[0]), float(higher[1])


def _tight(word: Word, pixels: Pixels) -> Word:
    """The word with its box shrunk to its ink, which is where a tick label's middle is exact."""
    left, top, right, bottom = (round(edge) for edge in word.box)
    top, left = max(top, 0), max(left, 0)
    if not word.level or right - left < 3 or bottom - top < 3:
        return word
    grey = pixels[top:bottom, left:right].astype(np.int16).mean(axis=2)
    ink = np.abs(grey - np.median(grey)) > INK
    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    if len(rows) < 4 or len(columns) < 2:
        return word
    box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    tight = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return replace(word, box=tight)
