"""Axes of a chart, from its words: scales from columns or rows of numbers, categories from rows or columns of text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tools.vision.numerals import Numeral, dotted_thousands, numeral, power_of_ten
from tools.vision.ocr import Word
from tools.vision.readings import NO_AXIS, Axis, AxisScale
from tools.vision.scale import Scale, Tick, fit

ALIGNED = 5.0
"""Pixels between the edges of labels of one axis; of large text more, since a tick may be taken for a part of it."""
COMMA = 0.15
"""Depth of a comma below the digits, as a share of the text's height."""
DIGITS = frozenset("23456789")
LARGEST_ERROR = 1.6
"""Largest mean distance of labels from their scale, in pixels."""
STEPS = (1.0, 2.0, 2.5, 5.0)
"""Usual steps between ticks, times a power of ten."""
UNIT = re.compile(r"[(（\[]\s*([^()（）\[\]]{1,12})\s*[)）\]]\s*$")

_Read = Sequence[tuple[Word, Numeral | None]]
"""Tick labels with their numbers."""


@dataclass(frozen=True)
class ScaleAxis:
    """A scale with the words that are its tick labels."""

    scale: Scale
    words: tuple[Word, ...]
    vertical: bool  # the axis runs upwards
    unit: str

    @property
    def position(self) -> float:
        """Where the labels stand across the axis, in pixels."""
        return float(np.mean([word.x if self.vertical else word.y for word in self.words]))

    @property
    def low_pixel(self) -> float:
        """Smallest pixel position of a tick."""
        return min(tick.position for tick in self.scale.ticks)

    @property
    def high_pixel(self) -> float:
        return max(tick.position for tick in self.scale.ticks)

    def described(self, title: str, unit: str) -> Axis:
        values = [tick.value for tick in self.scale.ticks]
        kind = AxisScale.LOG if self.scale.log else AxisScale.LINEAR
        return Axis(kind, title, self.unit or unit, min(values), max(values))


def scale_axes(words: Sequence[Word], *, vertical: bool) -> list[ScaleAxis]:
    """All axes with a scale in one direction, the one with the most tick labels first."""
    numbers = [word for word in words if word.level and _value(word) is not None]
    found: list[ScaleAxis] = []
    for group in _aligned(numbers, vertical):
        axis = _axis_of(group, vertical)
        if axis and not any(set(axis.words) & set(other.words) for other in found):
            found.append(axis)
    if not found:
        found = _of_two(numbers, vertical)
    return sorted(found, key=lambda axis: (-len(axis.words), axis.position if vertical else -axis.position))


def _of_two(numbers: Sequence[Word], vertical: bool) -> list[ScaleAxis]:
    """The axis of a small chart with two tick labels, at the left or the bottom of all numbers."""
    outer = sorted(numbers, key=lambda word: word.box[2] if vertical else -word.y)[:2]
    outer = sorted(outer, key=lambda word: -word.y if vertical else word.x)
    values = [found.value for word in outer if (found := _value(word))]
    if len(values) != 2 or not _neighbours(*values):
        return []
    if (vertical and abs(outer[0].box[2] - outer[1].box[2]) > ALIGNED) or (
        not vertical and abs(outer[0].y - outer[1].y) > ALIGNED
    ):
        return []
    scale = fit([_tick(word, value, vertical) for word, value in zip(outer, values, strict=True)], least=2, log=False)
    return [ScaleAxis(scale, tuple(outer), vertical, "")] if scale else []


def _neighbours(first: float, second: float) -> bool:
    """Whether two numbers can be neighbouring ticks: one is 0, or both are multiples of a usual step between them."""
    if 0.0 in (first, second):
        return first != second
    step = second - first
    if step <= 0:
        return False
    usual = any(math.isclose(step, size * 10 ** math.floor(math.log10(step)), rel_tol=1e-6) for size in STEPS)
    return usual and math.isclose(first / step, round(first / step), abs_tol=1e-6)


def _aligned(numbers: Sequence[Word], vertical: bool) -> Iterable[list[Word]]:
    """Groups of numbers in one column (or row), larger groups first."""
    if vertical:
        edges: list[Callable[[Word], float]] = [lambda w: w.box[2], lambda w: w.box[0], lambda w: w.x]
    else:
        edges = [lambda w: w.y, lambda w: w.box[1], lambda w: w.box[3]]
    groups = []
    for edge in edges:
        for seed in numbers:
            slack = max(ALIGNED, 0.6 * seed.height)
            group = [word for word in numbers if abs(edge(word) - edge(seed)) <= slack]
            if len(group) >= 2:
                groups.append(group)
    return sorted(groups, key=lambda group: -len(group))


def _axis_of(group: Sequence[Word], vertical: bool) -> ScaleAxis | None:
    plain = [(word, _value(word)) for word in group]
    powers = [(word, power_of_ten(word.text)) for word in group]
    dotted = [(word, dotted_thousands(word.text)) for word in group]
    best: ScaleAxis | None = None
    for readings, power in _in_order(plain, dotted, powers):
        axis = _fitted(readings, vertical, log=True if power else None, least=2 if power and len(group) <= 4 else 3)
        if axis and (best is None or len(axis.words) > len(best.words) or (power and not best.scale.log)):
            best = axis
    decades = _fitted(_in_decades(plain, vertical), vertical, log=True)
    return decades if decades and len(decades.words) > len(best.words if best else ()) else best


def _fitted(readings: _Read, vertical: bool, *, log: bool | None, least: int = 3) -> ScaleAxis | None:
    ticks = {_tick(word, found.value, vertical): word for word, found in readings if found}
    scale = fit(list(ticks), least=least, log=log)
    if scale is None or scale.error > LARGEST_ERROR:
        return None
    used = tuple(ticks[tick] for tick in scale.ticks)
    return ScaleAxis(scale, used, vertical, _common_unit([numeral(word.text) for word in used]))


def _in_decades(plain: _Read, vertical: bool) -> _Read:
    """Labels of which lone digits between powers of ten stand for multiples of the power below: 10, 2, 5, 100.

    Empty if there are no such digits.
    """
    ordered = sorted(plain, key=lambda one: -one[0].y if vertical else one[0].x)
    values = [found.value if found else 0.0 for _, found in ordered]
    powers = [place for place, value in enumerate(values) if value >= 1 and math.log10(value).is_integer()]
    if not powers:
        return []
    read: list[tuple[Word, Numeral | None]] = []
    for place, (word, _) in enumerate(ordered):
        below = [values[other] for other in powers if other <= place]
        base = below[-1] if below else values[powers[0]] / 10
        digit = word.text in DIGITS
        read.append((word, Numeral(values[place] * base) if digit else Numeral(values[place])))
    return read if any(found != plainly for (_, found), (_, plainly) in zip(read, ordered, strict=True)) else []


def _in_order(plain: _Read, dotted: _Read, powers: _Read) -> list[tuple[_Read, bool]]:
    """Readings of tick labels, of which the first wins ties, and whether they are powers of ten.

    Three decimals of which all end in 00 are thousands: nobody prints decimals that no label needs.
    """
    points = [word.text for word, _ in plain if re.search(r"\d\.\d", word.text)]
    if not points or any(found is None for _, found in dotted):
        return [(plain, False), (powers, True)]
    first = (dotted, plain) if all(re.search(r"\.\d00\b", text) for text in points) else (plain, dotted)
    return [(first[0], False), (first[1], False), (powers, True)]


def _tick(word: Word, value: float, vertical: bool) -> Tick:
    if vertical and "," in word.text:
        # A comma reaches below the line.
        return Tick(word.box[1] + (1 - COMMA) * word.height / 2, value)
    return Tick(word.y if vertical else word.x, value)


def _value(word: Word) -> Numeral | None:
    return numeral(word.text) or power_of_ten(word.text)


def _common_unit(numbers: Sequence[Numeral | None]) -> str:
    units = {number.unit for number in numbers if number and number.value}
    return units.pop() if len(units) == 1 else ""


def text_rows(words: Sequence[Word]) -> list[list[Word]]:
    """Words in rows: those whose middles (for slanted text, upper ends) are at one height. From top to bottom."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=_row_place):
        last = rows[-1] if rows else None
        if last and abs(_row_place(word) - np.median([_row_place(one) for one in last])) <= max(
            6.0, word.height * 0.45 * word.level
        ):
            last.append(word)
        else:
            rows.append([word])
    return [sorted(row, key=lambda word: word.x) for row in rows]


def _row_place(word: Word) -> float:
    return word.y if word.level else word.anchor[1]


def unit_of(title: str) -> str:
    """The unit at the end of an axis title, as in ``Revenue (k€)``; ``(log scale)`` is none."""
    match = UNIT.search(title)
    return match[1].strip() if match and not re.match(r"log", match[1], re.IGNORECASE) else ""


def vertical_title(words: Sequence[Word], left: float, taken: set[Word]) -> str:
    """The title of the vertical axis: upright text left of the tick labels, or level text right above them."""
    turned = [word for word in words if abs(word.angle) > 60 and word.x < left and word not in taken]
    # Text that runs upwards begins at the bottom.
    return " ".join(word.text for word in sorted(turned, key=lambda word: -word.y if word.angle > 0 else word.y))


def no_axis(labels: Sequence[str] = (), title: str = "") -> Axis:
    """An axis with categories, or `NO_AXIS`."""
    return Axis(AxisScale.CATEGORY, title, labels=tuple(labels)) if labels else NO_AXIS
