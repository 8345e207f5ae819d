"""Reads pies and donuts: slices of a disc by their angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.vision.chart_parts import ChartParts
from tools.vision.libraries import opencv
from tools.vision.numerals import name_before, numbers_in, numeral, unit_after
from tools.vision.ocr import Word
from tools.vision.pie_leaders import divided_slices, is_led_to
from tools.vision.pie_names import label_name, legend_texts, names_of
from tools.vision.pie_parts import STEPS, Disc, Slice
from tools.vision.pie_values import (
    AGREES,
    measured_value,
    name_and_values,
    percentages,
    printed_value,
    spaced,
    values_at,
    whole_of,
)
from tools.vision.readings import NO_AXIS, ChartKind, ChartReading, Point, Series
from tools.vision.scene import Lab, Mask, Scene, hex_of

LEAST_RADIUS = 0.1
"""Least radius, as a share of the image's shorter side."""
ROUND = 0.9
"""Least share of the circle's edge that the disc reaches."""
LEAST_SLICE = 4
"""Steps below which a run of one colour is a border between slices."""
PULLED, LOOSE, CONFIRMED = 0.13, 0.035, 0.6
"""Of slices pulled out of a disc: their way in radii, the error of shares, and how many need printed values."""
FAR = 0.75
"""Distance of labels from the disc, in radii."""


def read_pie(parts: ChartParts) -> ChartReading | None:
    """The pie or donut in an image; None if there is none."""
    scene = parts.scene
    if not parts.areas:
        return None
    colours, masks = [colour for colour, _ in parts.areas], [mask for _, mask in parts.areas]
    ignored = parts.legend_mask()
    filled = np.any(masks, axis=0) & ~ignored
    disc = disc_of(scene, filled)
    exploded = None if disc else disc_of(scene, filled, exploded=True)
    whole = disc or exploded
    if whole is None:
        return None
    slices = _slices(whole, [mask & ~ignored for mask in masks], colours)
    if disc:
        slices = divided_slices(scene, disc, slices)
    if len(slices) < 2:
        return None
    reading = _reading(parts, whole, slices, LOOSE if exploded else AGREES)
    printed = sum(point.printed for point in reading.series[0].points)
    return None if exploded and printed < CONFIRMED * len(slices) else reading


def disc_of(scene: Scene, mask: Mask, *, exploded: bool = False) -> Disc | None:
    """The disc that the fills form together, if they form one. Gaps between slices and text are bridged.

    With ``exploded``, the hull of slices of which some are pulled out of the disc.
    """
    cv2 = opencv()
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    if exploded:
        least = 0.05 * cv2.contourArea(contour)
        hull = cv2.convexHull(np.concatenate([one for one in contours if cv2.contourArea(one) >= least]))
        line = cv2.polylines(np.zeros_like(closed), [hull], True, 1)
        contour = max(cv2.findContours(line, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=cv2.contourArea)
    points = contour.reshape(-1, 2).astype(np.float64)
    x, y, radius = _circle(points)
    if radius < LEAST_RADIUS * min(scene.width, scene.height):
        return None
    area = float(cv2.contourArea(contour)) / (math.pi * radius**2)
    away = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
    reached = np.unique(
        (
            np.arctan2(points[:, 1] - y, points[:, 0] - x)[away < (PULLED if exploded else 0.04) * radius + 2]
            * 90
            / math.pi
        ).astype(int)
    )
    if not 0.9 < area < 1.08 or len(reached) < ROUND * 180:
        return None
    return Disc(x, y, radius, _hole(mask, x, y, radius))


def _circle(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Circle through most points of a contour: least squares (Kåsa 1976), repeated without outliers."""
    kept = points
    x = y = radius = 0.0
    for _ in range(4):
        matrix = np.column_stack([2 * kept, np.ones(len(kept))])
        solution, *_ = np.linalg.lstsq(matrix, (kept**2).sum(axis=1), rcond=None)
        x, y = float(solution[0]), float(solution[1])
        radius = math.sqrt(max(float(solution[2]) + x * x + y * y, 0.0))
        away = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        near = points[away <= max(2.0, float(np.quantile(away, 0.7)))]
        if len(near) < 12:
            break
        kept = near
    return x, y, radius


def _hole(mask: Mask, x: float, y: float, radius: float) -> float:
    """Radius of the hole: where, going inwards, most directions leave the fills."""
    angles = np.linspace(0, 2 * math.pi, 180, endpoint=False)
    for share in np.arange(0.9, 0.04, -0.03):
        filled = _sample(mask, x + np.cos(angles) * radius * share, y + np.sin(angles) * radius * share)
        if filled.mean() < 0.3:
            return float((share + 0.015) * radius)
    return 0.0


def _sample(image: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[Any]:
    rows = np.clip(np.round(y).astype(int), 0, image.shape[0] - 1)
    columns = np.clip(np.round(x).astype(int), 0, image.shape[1] - 1)
    return np.asarray(image[rows, columns])


def _slices(disc: Disc, masks: Sequence[Mask], colours: Sequence[Lab]) -> list[Slice]:
    """Runs of one colour around the disc, clockwise from the top."""
    index = np.full(masks[0].shape, -1, dtype=np.int16)
    for place, mask in enumerate(masks):
        index[mask] = place
    angles = np.arange(STEPS) * 2 * math.pi / STEPS
    inner = max(disc.hole + 0.12 * (disc.radius - disc.hole), 0.3 * disc.radius)
    votes = np.zeros((len(masks) + 1, STEPS), dtype=int)
    for radius in np.linspace(inner, disc.radius * 0.97, 40):
        seen = _sample(index, disc.x + np.sin(angles) * radius, disc.y - np.cos(angles) * radius)
        for place in range(-1, len(masks)):
            votes[place] += seen == place
    winner = votes[:-1].argmax(axis=0)
    winner[votes[:-1].max(axis=0) < 8] = -1
    return _whole(_runs(winner), colours)


def _runs(winner: NDArray[np.intp]) -> list[tuple[int, int, int]]:
    """Runs (start, length, colour) around the circle, beginning at a change."""
    changes = np.flatnonzero(winner != np.roll(winner, 1))
    if not len(changes):
        return [(0, STEPS, int(winner[0]))]
    ends = np.append(changes[1:], changes[0] + STEPS)
    return [(int(start), int(end - start), int(winner[start])) for start, end in zip(changes, ends, strict=True)]


def _whole(runs: list[tuple[int, int, int]], colours: Sequence[Lab]) -> list[Slice]:
    """Slices, with the borders between them divided among both neighbours."""
    real = [run for run in runs if run[2] >= 0 and run[1] >= LEAST_SLICE]
    merged: list[tuple[int, int, int]] = []
    for run in real:
        last = merged[-1] if merged else None
        if last and last[2] == run[2] and run[0] - (last[0] + last[1]) < 2:
            merged[-1] = (last[0], run[0] + run[1] - last[0], run[2])
        else:
            merged.append(run)
    slices = []
    for place, (start, length, colour) in enumerate(merged):
        before = merged[place - 1]
        after = merged[(place + 1) % len(merged)]
        gap_before = (start - before[0] - before[1]) % STEPS
        gap_after = (after[0] - start - length) % STEPS
        slices.append(Slice(start, round(length + gap_before / 2 + gap_after / 2), colours[colour]))
    return [one for one in slices if one.length >= LEAST_SLICE]


def _reading(parts: ChartParts, disc: Disc, slices: Sequence[Slice], agrees: float) -> ChartReading:
    title, headline = parts.headline(disc.y - 0.9 * disc.radius)
    if any(is_led_to(word, parts.scene) for word in headline):
        title, headline = "", set()
    words = [word for word in parts.free_words() if word not in headline]
    near = [
        word
        for word in words
        if math.hypot(word.x - disc.x, word.y - disc.y) - word.width / 2 < (1 + FAR) * disc.radius
    ]
    owned = _owned(disc, slices, near)
    points = []
    total = sum(one.length for one in slices)
    entries = [spaced(text) for text in legend_texts([one.colour for one in slices], parts.legend)]
    numbers = values_at([[word.text for word in group] for group in owned], entries)
    shares = [one.length / total for one in slices]
    whole = whole_of(numbers, shares)
    units = set()
    printed = [printed_value(found, share, whole, agrees) for found, share in zip(numbers, shares, strict=True)]
    for place, (entry, found, share, number) in enumerate(zip(entries, numbers, shares, printed, strict=True)):
        if number and number in name_and_values(entry)[1] and not numeral(entry):
            units.add(unit_after(entry, number))
            entries[place] = name_before(entry, [number, *percentages(found, share, agrees)])
    labels = [" ".join(filter(None, (label_name(word.text) for word in group))) for group in owned]
    names = names_of(entries, labels)
    for place, (one, share, group, number) in enumerate(zip(slices, shares, owned, printed, strict=True)):
        value = measured_value(share, whole) if number is None else number.value
        name = names[place] or _plain(group, value) or f"#{place + 1}"
        reach = (disc.hole + disc.radius) / 2
        pixel = (disc.x + math.sin(one.middle) * reach, disc.y - math.cos(one.middle) * reach)
        points.append(Point(name, value, pixel, 0.97 if number else 0.85, number is not None))
    series = Series("", hex_of(slices[0].colour), tuple(points))
    confidence = float(np.mean([point.confidence for point in points]))
    notes = () if whole else ("values are percentages of the whole",)
    unit = "%" if whole is None else units.pop() if len(units) == 1 else ""
    values = replace(NO_AXIS, unit=unit)
    return ChartReading(ChartKind.PIE, title, NO_AXIS, values, (series,), confidence, notes=notes)


def _owned(disc: Disc, slices: Sequence[Slice], words: Sequence[Word]) -> list[list[Word]]:
    """Words of each slice: those on it by angle, those outside in the order of the slices around the disc."""
    owned: list[list[Word]] = [[] for _ in slices]
    outside = []
    for word in words:
        away = math.hypot(word.x - disc.x, word.y - disc.y)
        if away >= disc.radius:
            outside.append(word)
        elif away >= disc.hole:
            owned[_slice_at(slices, _angle(disc, word.x, word.y))].append(word)
    labels = sorted(_blocks(outside), key=lambda block: _label_angle(disc, block))
    if len(labels) == len(slices):
        order = sorted(range(len(slices)), key=lambda index: slices[index].middle)
        for index, block in zip(order, _turned(disc, labels, [slices[place] for place in order]), strict=True):
            owned[index] += block
        return owned
    for block in labels:
        owned[_slice_at(slices, _label_angle(disc, block))] += block
    return owned


def _turned(disc: Disc, labels: list[list[Word]], slices: Sequence[Slice]) -> list[list[Word]]:
    """Labels in the order of the slices: the rotation with the least sum of angles between them."""
    whole = 2 * math.pi
    angles = [_label_angle(disc, block) for block in labels]
    costs = []
    for turn in range(len(labels)):
        away = [abs((angles[(place + turn) % len(labels)] - one.middle + math.pi) % whole - math.pi)
                for place, one in enumerate(slices)]  # fmt: skip
        costs.append((sum(away), turn))
    turn = min(costs)[1]
    return labels[turn:] + labels[:turn]


def _blocks(words: Sequence[Word]) -> list[list[Word]]:
    """Words in blocks: lines of one label stand under each other."""
    blocks: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.y, word.x)):
        for block in blocks:
            last = block[-1]
            under = word.box[1] - last.box[3] < 0.5 * last.height and abs(word.x - last.x) < 0.5 * max(
                word.width, last.width
            )
            beside = abs(word.y - last.y) < 0.4 * last.height and 0 <= word.box[0] - last.box[2] < 0.9 * last.height
            if under or beside:
                block.append(word)
                break
        else:
            blocks.append([word])
    return blocks


def _label_angle(disc: Disc, block: Sequence[Word]) -> float:
    """Direction of a label outside the disc: that of its end which is nearer to the disc."""
    left, right = min(word.box[0] for word in block), max(word.box[2] for word in block)
    near = float(np.clip(disc.x, left, right))
    return _angle(disc, near, float(np.mean([word.y for word in block])))


def _angle(disc: Disc, x: float, y: float) -> float:
    """Radians clockwise from the top."""
    return math.atan2(x - disc.x, disc.y - y) % (2 * math.pi)


def _slice_at(slices: Sequence[Slice], angle: float) -> int:
    step = angle * STEPS / (2 * math.pi)
    inside = [index for index, one in enumerate(slices) if (step - one.start) % STEPS < one.length]
    return inside[0] if inside else 0


def _plain(group: Sequence[Word], value: float) -> str:
    """A label that is only a number, such as a year, and not the value."""
    texts = [word.text for word in group if all(number.value != value for number in numbers_in(word.text))]
    return texts[0] if texts else ""
