"""Numbers printed at bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.vision.bar_geometry import Bar
from tools.vision.numerals import numeral
from tools.vision.ocr import Word, recognised
from tools.vision.readings import Box
from tools.vision.scene import Scene

MANY = 0.5
"""Share of bars with a number above which the others are expected to have one too."""
LEAST_SCORE = 0.7


def printed_numbers(
    scene: Scene, bars: Sequence[Bar], printed: Sequence[tuple[Word, float, str]], *, vertical: bool, stacked: bool
) -> dict[int, float]:
    """Number printed at each bar, by the bar's index. Where text detection missed one, its place is looked into."""
    found = matched(bars, printed, vertical=vertical, stacked=stacked)
    numbers = {index: value for index, (_, value) in found.items()}
    left = [index for index in range(len(bars)) if index not in found]
    if left and len(found) >= max(2, MANY * len(bars)):
        boxes = [
            _expected(bars[index], [(bars[i], word) for i, (word, _) in found.items()], vertical) for index in left
        ]
        for index, (text, score) in zip(left, recognised(scene.pixels, boxes), strict=False):
            number = numeral(text)
            if number and score >= LEAST_SCORE:
                numbers[index] = number.value
    return numbers


def _expected(bar: Bar, known: Sequence[tuple[Bar, Word]], vertical: bool) -> Box:
    """Where a bar's number is, if it stands like those of other bars."""
    offsets = [np.subtract((word.x, word.y), other.tip(vertical)) for other, word in known]
    across, along = np.median(offsets, axis=0)
    x, y = bar.tip(vertical)[0] + float(across), bar.tip(vertical)[1] + float(along)
    tall = float(np.median([word.height for _, word in known])) * 0.9
    wide = max(word.width for _, word in known) / 2 + 0.3 * tall
    return (x - wide, y - tall, x + wide, y + tall)


def matched(
    bars: Sequence[Bar], printed: Sequence[tuple[Word, float, str]], *, vertical: bool, stacked: bool
) -> dict[int, tuple[Word, float]]:
    """Printed number of each bar, nearest pairs first."""
    pairs = []
    for index, bar in enumerate(bars):
        for place, (word, _, _) in enumerate(printed):
            away = _inside(bar, word, vertical) if stacked else _away(bar, word, vertical)
            if away is not None:
                pairs.append((away, index, place))
    found: dict[int, tuple[Word, float]] = {}
    used: set[int] = set()
    for _, index, place in sorted(pairs):
        if index not in found and place not in used:
            found[index] = printed[place][:2]
            used.add(place)
    return found


def _away(bar: Bar, word: Word, vertical: bool) -> float | None:
    """Distance of a word from a bar's end, in pixels; None if the word belongs to another place."""
    across, along = (word.x, word.y) if vertical else (word.y, word.x)
    half = (word.height if vertical else word.width) / 2
    reach = max(bar.thickness / 2, (word.width if vertical else word.height) / 2 if bar.thickness < 14 else 0) + 2
    if abs(across - bar.middle) > reach:
        return None
    beyond = abs(along - bar.far) - half
    inside = min(bar.near, bar.far) <= along <= max(bar.near, bar.far)
    if beyond > 1.6 * word.height and not inside:
        return None
    return abs(across - bar.middle) + max(beyond, 0.0)


def _inside(bar: Bar, word: Word, vertical: bool) -> float | None:
    """Distance of a word from the middle of the segment that it is printed on."""
    across, along = (word.x, word.y) if vertical else (word.y, word.x)
    if (
        abs(across - bar.middle) > bar.thickness / 2
        or not min(bar.near, bar.far) - 2 <= along <= max(bar.near, bar.far) + 2
    ):
        return None
    return abs(along - (bar.near + bar.far) / 2)
