"""Parts of a chart that all chart readers use, found once per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.vision.axes import ScaleAxis, unit_of, vertical_title
from tools.vision.legend import LegendEntry
from tools.vision.numerals import numeral
from tools.vision.ocr import Word
from tools.vision.scene import Lab, Mask, Scene


@dataclass(frozen=True)
class ChartParts:
    """The image, its scales and its legend."""

    scene: Scene
    upright: tuple[ScaleAxis, ...]
    """Vertical scales, the one with the most tick labels first."""
    level: tuple[ScaleAxis, ...]
    """Horizontal scales."""
    legend: tuple[LegendEntry, ...]
    areas: tuple[tuple[Lab, Mask], ...]
    """Colours of fills with their pixels, most common first."""

    def free_words(self, *axes: ScaleAxis | None) -> list[Word]:
        """Words that are neither in the legend nor tick labels of ``axes``."""
        taken = {entry.word for entry in self.legend}
        for axis in axes:
            taken |= set(axis.words) if axis else set()
        return [word for word in self.scene.words if word not in taken]

    def legend_mask(self) -> Mask:
        """Pixels of the legend's samples."""
        mask = np.zeros((self.scene.height, self.scene.width), dtype=bool)
        for entry in self.legend:
            left, top, right, bottom = (int(edge) for edge in entry.sample)
            mask[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = True
        return mask

    def headline(self, bottom: float) -> tuple[str, set[Word]]:
        """The chart's title and its words: the tallest free line in the uppermost part, above ``bottom``."""
        words = [
            word for word in self.free_words() if word.level and word.box[3] <= bottom and numeral(word.text) is None
        ]
        if not words:
            return "", set()
        first = min(words, key=lambda word: word.y)
        tallest = max(words, key=lambda word: (round(word.height / 3), -word.y))
        usual = float(np.median([word.height for word in self.scene.words]))
        chosen = tallest if tallest.height > 1.15 * usual else first
        if chosen.height < 1.05 * usual and abs(chosen.x - self.scene.width / 2) > 0.25 * self.scene.width:
            return "", set()
        line = [word for word in words if abs(word.y - chosen.y) < 0.5 * chosen.height]
        return " ".join(word.text for word in sorted(line, key=lambda word: word.x)), set(line)

    def upright_title(self, left: float) -> tuple[str, str]:
        """Title of the vertical axis, left of ``left``, and the unit that it names."""
        title = vertical_title(self.scene.words, left, {entry.word for entry in self.legend})
        return title, unit_of(title)

    def level_title(self, top: float, taken: set[Word]) -> tuple[str, str]:
        """Title of the horizontal axis, under its labels, and the unit that it names."""
        below = [word for word in self.free_words() if word.level and word.box[1] >= top - 2 and word not in taken]
        line = " ".join(word.text for word in below[:1])
        return line, unit_of(line)


def numbers(words: Sequence[Word]) -> list[tuple[Word, float, str]]:
    """Words that are numbers, with value and unit."""
    read = [(word, numeral(word.text)) for word in words if word.level]
    return [(word, found.value, found.unit) for word, found in read if found]
