"""Draws the company's charts with Pillow, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Named = Sequence[tuple[str, float]]
"""Categories with their values."""

WIDTH, HEIGHT = 860, 520
LEFT, TOP, RIGHT, BOTTOM = 110, 80, 820, 440
"""Plot area in pixels."""
COLOURS = ("#2f6f9f", "#d98324", "#4f8f4a", "#a23b4a", "#7a5ea8", "#8c8c8c")
INK, GRID = "#222222", "#d9d9d9"


class Drawing:
    """A white page to draw on. Raises ImportError without Pillow."""

    def __init__(self, title: str) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        self.pen: Any = ImageDraw.Draw(self._image)
        self._fonts = {size: ImageFont.load_default(size) for size in (15, 16, 22)}
        self.text((WIDTH / 2, 34), title, size=22)

    def text(self, place: tuple[float, float], text: str, *, size: int = 16, anchor: str = "mm") -> None:
        self.pen.text(place, text, fill=INK, font=self._fonts[size], anchor=anchor)

    def legend(self, names: Sequence[str]) -> None:
        for place, name in enumerate(names):
            left = LEFT + 120 * place
            self.pen.rectangle((left, HEIGHT - 36, left + 18, HEIGHT - 18), fill=COLOURS[place])
            self.text((left + 28, HEIGHT - 27), name, anchor="lm")

    def axes(self, highest: float) -> float:
        """Draws a value axis from 0 with grid and labels; returns the value at its top."""
        step = _step(highest)
        top = step * math.ceil(highest / step)
        for place in range(round(top / step) + 1):
            value = place * step
            y = BOTTOM - (BOTTOM - TOP) * value / top
            self.pen.line((LEFT, y, RIGHT, y), fill=GRID if place else INK)
            self.text((LEFT - 10, y), f"{value:,.0f}", size=15, anchor="rm")
        self.pen.line((LEFT, TOP, LEFT, BOTTOM), fill=INK)
        return top

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._image.save(path, format="PNG")


def bars(path: Path, title: str, values: Sequence[Named], names: Sequence[str] = ("",)) -> None:
    """Bars with printed values, one colour for each series.

    Args:
        values: for each series, its categories in the same order.
        names: names of the series.
    """
    page = Drawing(title)
    top = page.axes(max(value for series in values for _, value in series))
    room = (RIGHT - LEFT) / len(values[0])
    width = 0.68 * room / len(values)
    for index, series in enumerate(values):
        for place, (category, value) in enumerate(series):
            left = LEFT + room * place + 0.16 * room + width * index
            y = BOTTOM - (BOTTOM - TOP) * value / top
            page.pen.rectangle((round(left), round(y), round(left + width) - 2, BOTTOM - 1), fill=COLOURS[index])
            page.text((left + width / 2, y - 12), f"{value:,.0f}", size=15)
            if not index:
                page.text((LEFT + room * (place + 0.5), BOTTOM + 20), category)
    if len(names) > 1:
        page.legend(names)
    page.save(path)


def line(path: Path, title: str, values: Named) -> None:
    """A line with a value axis and no printed values."""
    page = Drawing(title)
    top = page.axes(max(value for _, value in values))
    room = (RIGHT - LEFT) / len(values)
    spots = [
        (LEFT + room * (place + 0.5), BOTTOM - (BOTTOM - TOP) * value / top) for place, (_, value) in enumerate(values)
    ]
    page.pen.line(spots, fill=COLOURS[0], width=3)
    for (x, y), (category, _) in zip(spots, values, strict=True):
        page.pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=COLOURS[0])
        page.text((x, BOTTOM + 20), category)
    page.save(path)


def pie(path: Path, title: str, values: Named) -> None:
    """A pie with names and whole percentages beside its slices."""
    page = Drawing(title)
    total = sum(value for _, value in values)
    middle, radius, start = (WIDTH / 2, 285), 165, -90.0
    for place, (category, value) in enumerate(values):
        end = start + 360 * value / total
        box = (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius)
        page.pen.pieslice(box, start, end, fill=COLOURS[place], outline="white", width=2)
        angle = math.radians((start + end) / 2)
        x, y = middle[0] + (radius + 26) * math.cos(angle), middle[1] + (radius + 22) * math.sin(angle)
        anchor = "lm" if math.cos(angle) >= 0 else "rm"
        page.text((x, y), f"{category} {100 * value / total:.0f}%", anchor=anchor)
        start = end
    page.save(path)


def _step(highest: float) -> float:
    """A round step with four to eight of them up to the highest value."""
    power: float = 10 ** math.floor(math.log10(highest / 4))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if highest / (power * factor) <= 8)
