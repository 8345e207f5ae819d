"""Small images drawn by Pillow for the tests of the reader."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import date

from PIL import Image, ImageDraw, ImageFont

BLUE, ORANGE, GREEN = "#1f77b4", "#ff7f0e", "#2ca02c"
COLOURS = (BLUE, ORANGE, GREEN)
LEFT, RIGHT, TOP, BOTTOM = 80, 560, 60, 340
FONT = ImageFont.load_default(15)


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def canvas(size: tuple[int, int] = (600, 400), paper: str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, paper)
    return image, ImageDraw.Draw(image)


def row_of(value: float, low: float, high: float, *, log: bool = False) -> float:
    """Pixel row of a value on the vertical axis."""
    if log:
        value, low, high = math.log10(value), math.log10(low), math.log10(high)
    return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)


def axis(pen: ImageDraw.ImageDraw, ticks: Sequence[float], low: float, high: float, *, log: bool = False) -> None:
    pen.line((LEFT, TOP, LEFT, BOTTOM), fill="black")
    for tick in ticks:
        row = row_of(tick, low, high, log=log)
        pen.line((LEFT - 5, row, LEFT, row), fill="black")
        pen.text((LEFT - 9, row), f"{tick:g}", font=FONT, fill="black", anchor="rm")


def places(count: int) -> list[float]:
    step = (RIGHT - LEFT) / count
    return [LEFT + (index + 0.5) * step for index in range(count)]


def labels(pen: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    for place, name in zip(places(len(names)), names, strict=True):
        pen.text((place, BOTTOM + 16), name, font=FONT, fill="black", anchor="mm")


def legend(pen: ImageDraw.ImageDraw, names: Sequence[str], *, line: bool = False) -> None:
    for index, name in enumerate(names):
        left, row = LEFT + 120 * index, 24
        box = (left, row - 1, left + 24, row + 1) if line else (left, row - 6, left + 24, row + 6)
        pen.rectangle(box, fill=COLOURS[index])
        pen.text((left + 32, row), name, font=FONT, fill="black", anchor="lm")


def bar_chart(
    values: Sequence[Sequence[float]], categories: Sequence[str], names: Sequence[str] = (), *, low: float = 0,
    high: float = 100, ticks: Sequence[float] = (0, 20, 40, 60, 80, 100), stacked: bool = False, printed: bool = False,
) -> bytes:  # fmt: skip
    """Upright bars; several series are grouped or stacked."""
    image, pen = canvas()
    if ticks:
        axis(pen, ticks, low, high)
    labels(pen, categories)
    legend(pen, names)
    width = (RIGHT - LEFT) / len(categories) * 0.7
    each = width if stacked else width / len(values)
    for place, index in zip(places(len(categories)), range(len(categories)), strict=True):
        base = 0.0
        for series, row in enumerate(values):
            start = place - width / 2 + (0 if stacked else series * each)
            ends = sorted((row_of(base + row[index], low, high), row_of(base, low, high)))
            pen.rectangle((start, ends[0], start + each - 1, ends[1] - 1), fill=COLOURS[series])
            if printed:
                pen.text((start + each / 2, ends[0] - 10), f"{row[index]:g}", font=FONT, fill="black", anchor="mm")
            base += row[index] if stacked else 0
    return png(image)


def stack_chart(
    values: Sequence[Sequence[float]], categories: Sequence[str], *, edge: str, line: int = 3, printed: bool = False,
    hatched: tuple[int, int] | None = None,
) -> bytes:  # fmt: skip
    """Upright stacks on a scale from 0 to 100 whose segments have an edge line, half of which lies on each side.

    The segment ``hatched``, by series and category, has stripes instead of a fill. With ``printed``, numbers stand in
    the segments.
    """
    image, pen = canvas()
    axis(pen, (0, 20, 40, 60, 80, 100), 0, 100)
    labels(pen, categories)
    half = line // 2
    for index, place in enumerate(places(len(categories))):
        base = 0.0
        left, right = round(place) - 40, round(place) + 40
        for series, row in enumerate(values):
            top, bottom = round(row_of(base + row[index], 0, 100)), round(row_of(base, 0, 100))
            pen.rectangle((left, top, right, bottom), fill=COLOURS[series])
            for stripe in range(left, right, 2) if (series, index) == hatched else ():
                pen.line((stripe, top, stripe, bottom), fill="#203040")
            pen.rectangle((left - half, top - half, right + half, bottom + half), outline=edge, width=line)
            if printed:
                middle = (place, (top + bottom) / 2)
                pen.text(middle, f"{row[index]:.1f}", font=FONT, fill="black", anchor="mm")
            base += row[index]
    return png(image)


def panels(values: dict[str, Sequence[float]], categories: Sequence[str]) -> bytes:
    """Panels beside each other on one scale from 0 to 100, each with its title, its colour and all categories."""
    image, pen = canvas((900, 400))
    axis(pen, (0, 20, 40, 60, 80, 100), 0, 100)
    for index, (name, row) in enumerate(values.items()):
        left = LEFT + index * 400
        pen.text((left + 180, TOP - 20), name, font=FONT, fill="black", anchor="mm")
        for place, (category, value) in enumerate(zip(categories, row, strict=True)):
            middle = left + (place + 0.5) * 360 / len(row)
            pen.rectangle((middle - 40, row_of(value, 0, 100), middle + 40, BOTTOM - 1), fill=COLOURS[index])
            pen.text((middle, BOTTOM + 16), category, font=FONT, fill="black", anchor="mm")
    return png(image)


def level_bars(values: Sequence[float], categories: Sequence[str]) -> bytes:
    """Bars that grow to the right, on a scale from 0 to 50."""
    image, pen = canvas()
    step = (BOTTOM - TOP) / len(values)
    for index, (value, name) in enumerate(zip(values, categories, strict=True)):
        middle = TOP + (index + 0.5) * step
        pen.rectangle((LEFT, middle - 12, LEFT + value * 9, middle + 12), fill=BLUE)
        pen.text((LEFT - 8, middle), name, font=FONT, fill="black", anchor="rm")
    for tick in range(0, 60, 10):
        pen.text((LEFT + tick * 9, BOTTOM + 16), str(tick), font=FONT, fill="black", anchor="mm")
    return png(image)


def line_chart(
    values: Sequence[Sequence[float]], categories: Sequence[str], names: Sequence[str] = (), *, low: float = 0,
    high: float = 100, ticks: Sequence[float] = (0, 20, 40, 60, 80, 100), log: bool = False,
) -> bytes:  # fmt: skip
    image, pen = canvas()
    axis(pen, ticks, low, high, log=log)
    for tick in ticks:
        row = row_of(tick, low, high, log=log)
        pen.line((LEFT + 1, row, RIGHT, row), fill="#cccccc")
    labels(pen, categories)
    legend(pen, names, line=True)
    for index, series in enumerate(values):
        points = [(x, row_of(value, low, high, log=log)) for x, value in zip(places(len(series)), series, strict=True)]
        pen.line(points, fill=COLOURS[index], width=3, joint="curve")
    return png(image)


def line_from_the_axis(values: Sequence[float], years: Sequence[int]) -> bytes:
    """A thick line on a scale from 0 to 100 that begins at the axis, which the tick labels touch."""
    image, pen = canvas(paper="#111111")
    step = (RIGHT - LEFT) / (len(years) - 1)
    for tick in range(0, 120, 20):
        row = row_of(tick, 0, 100)
        pen.line((LEFT, row, RIGHT, row), fill="#444455")
        pen.text((LEFT - 1, row), str(tick), font=FONT, fill="white", anchor="rm")
    points = [(LEFT + index * step, row_of(value, 0, 100)) for index, value in enumerate(values)]
    pen.line(points, fill=ORANGE, width=3, joint="curve")
    for (x, _), year in zip(points, years, strict=True):
        pen.text((x, BOTTOM + 16), str(year), font=FONT, fill="white", anchor="mm")
    return png(image)


def dated_line(values: dict[date, float], ticks: dict[str, date]) -> bytes:
    """A line with round markers on a time axis from the first tick to the last, on a scale from 0 to 100."""
    image, pen = canvas()
    axis(pen, (0, 20, 40, 60, 80, 100), 0, 100)
    first, last = min(ticks.values()), max(ticks.values())
    per_day = (RIGHT - LEFT) / (last - first).days
    for label, day in ticks.items():
        column = LEFT + (day - first).days * per_day
        pen.line((column, BOTTOM, column, BOTTOM + 5), fill="black")
        pen.text((column, BOTTOM + 16), label, font=FONT, fill="black", anchor="mm")
    points = [(LEFT + (day - first).days * per_day, row_of(value, 0, 100)) for day, value in values.items()]
    pen.line(points, fill=BLUE, width=2, joint="curve")
    for x, y in points:
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=BLUE)
    return png(image)


def pie_chart(
    values: Sequence[float], names: Sequence[str], *, hole: float = 0, pulled: float = 0, colours: int = 3,
    size: int = 15, labelled: bool = False,
) -> bytes:  # fmt: skip
    """Slices from the top on, with a legend in letters of ``size``.

    The first slice is pulled out of the disc by ``pulled`` pixels. ``colours`` repeat. With ``labelled``, leader lines
    lead to a name for each slice.
    """
    image, pen = canvas()
    start = -90.0
    for index, value in enumerate(values):
        end = start + 360 * value / sum(values)
        middle = math.radians((start + end) / 2)
        x, y = (0.0, 0.0) if index else (pulled * math.cos(middle), pulled * math.sin(middle))
        pen.pieslice((120 + x, 80 + y, 400 + x, 360 + y), start, end, fill=COLOURS[index % colours])
        if labelled:
            leader(pen, middle, names[index], COLOURS[index % colours])
        start = end
    if hole:
        pen.ellipse((260 - hole, 220 - hole, 260 + hole, 220 + hole), fill="white")
    for index, name in enumerate(names):
        row = 127 + 30 * index
        side, text = (7, 474) if size > 12 else (6, 480)
        pen.rectangle((450, row - side, 452 + 2 * side, row + side), fill=COLOURS[index % colours])
        pen.text((text, row), name, font=ImageFont.load_default(size), fill="black", anchor="lm")
    return png(image)


def leader(pen: ImageDraw.ImageDraw, angle: float, name: str, colour: str) -> None:
    """A line from the edge of `pie_chart`'s disc outwards and then level, with a name at its end."""
    x, y = (160 * math.cos(angle) + 260, 160 * math.sin(angle) + 220)
    side = 1 if x > 260 else -1
    pen.line([(140 * math.cos(angle) + 260, 140 * math.sin(angle) + 220), (x, y), (x + side * 20, y)], fill=colour)
    pen.text((x + side * 24, y), name, font=FONT, fill="black", anchor="lm" if side > 0 else "rm")


def table_image(rows: Sequence[Sequence[str]], *, ruled: bool) -> bytes:
    image, pen = canvas((140 * len(rows[0]) + 40, 36 * len(rows) + 40))
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            pen.text((32 + 140 * j, 38 + 36 * i), cell, font=FONT, fill="black", anchor="lm")
    if ruled:
        for i in range(len(rows) + 1):
            pen.line((20, 20 + 36 * i, 20 + 140 * len(rows[0]), 20 + 36 * i), fill="black")
        for j in range(len(rows[0]) + 1):
            pen.line((20 + 140 * j, 20, 20 + 140 * j, 20 + 36 * len(rows)), fill="black")
    return png(image)


def text_image(lines: Sequence[str]) -> bytes:
    image, pen = canvas()
    for index, line in enumerate(lines):
        pen.text((30, 40 + 40 * index), line, font=ImageFont.load_default(20), fill="black")
    return png(image)


def turned(data: bytes, degrees: float) -> bytes:
    """The image turned counter-clockwise about its middle, as on a scanner."""
    with Image.open(io.BytesIO(data)) as image:
        return png(image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white"))
