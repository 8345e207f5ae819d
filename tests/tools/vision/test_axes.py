"""Value and category axes as small or unusual charts have them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.tools.vision.drawing import BLUE, BOTTOM, FONT, LEFT, TOP, canvas, line_chart, png
from tools.vision import ChartReading, read_image
from tools.vision.axes import scale_axes
from tools.vision.exponents import with_exponents
from tools.vision.ocr import Word
from tools.vision.scene import hex_of, scene_of
from tools.vision.slots import labels_below

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")


def values(data: bytes) -> dict[str | float, float]:
    reading = read_image(data)
    assert isinstance(reading, ChartReading)
    assert len(reading.series) == 1
    return {point.x: point.y for point in reading.series[0].points}


def column(texts: dict[str, float]) -> list[Word]:
    """Numbers above each other, at the given pixel rows."""
    return [Word(text, (60.0 - 8 * len(text), row - 6, 60.0, row + 6), 1.0) for text, row in texts.items()]


def test_two_neighbouring_ticks_are_an_axis() -> None:
    truth = dict(zip(MONTHS, (62.0, 95.0, 48.0, 71.0, 55.0, 88.0), strict=True))
    assert values(line_chart([list(truth.values())], MONTHS, low=30, high=110, ticks=(50, 100))) == pytest.approx(
        truth, abs=1.5
    )


@pytest.mark.parametrize("texts", [("37", "52"), ("30", "40"), ("20", "25")])
def test_two_numbers_that_are_no_neighbouring_ticks_are_no_axis(texts: tuple[str, str]) -> None:
    downwards = column(dict(zip(texts, (100.0, 200.0), strict=True)))
    upwards = column(dict(zip(texts, (200.0, 100.0), strict=True)))
    assert not scale_axes(downwards, vertical=True)
    assert bool(scale_axes(upwards, vertical=True)) == (texts != ("37", "52"))


def test_lone_digits_between_powers_of_ten_are_multiples() -> None:
    rows = {"100": 300.0, "2": 270.0, "5": 230.0, "1000": 200.0, "2 ": 170.0, "5 ": 130.0, "10k": 100.0}
    words = [Word(word.text.strip(), word.box, 1.0) for word in column(rows)]
    (axis,) = scale_axes(words, vertical=True)
    assert axis.scale.log
    assert [round(tick.value) for tick in axis.scale.ticks] == [10_000, 5000, 2000, 1000, 500, 200, 100]


@pytest.mark.parametrize("texts", [("0", "2", "4", "6", "8", "10"), ("1", "2", "3", "4", "5"), ("5", "10", "15")])
def test_digits_of_a_linear_axis_stay(texts: tuple[str, ...]) -> None:
    (axis,) = scale_axes(column({text: 300 - 40.0 * place for place, text in enumerate(texts)}), vertical=True)
    assert not axis.scale.log
    assert [tick.value for tick in axis.scale.ticks] == [float(text) for text in reversed(texts)]


def test_an_exponent_that_was_left_out_is_read() -> None:
    image, pen = canvas()
    small = FONT.font_variant(size=11)
    words = []
    for exponent, row in ((2, 80), (3, 160), (4, 240)):
        pen.text((40, row), "10", font=FONT, fill="black", anchor="lm")
        pen.text((58, row - 7), str(exponent), font=small, fill="black", anchor="lm")
        words.append(Word("10", (40.0, row - 6.0, 57.0, row + 6.0), 1.0))
    found = with_exponents(np.asarray(image), words)
    (axis,) = scale_axes(found, vertical=True)
    assert axis.scale.log
    assert [round(tick.value) for tick in axis.scale.ticks] == [100, 1000, 10_000]


def test_a_line_below_the_lowest_tick_label_is_read() -> None:
    truth = dict(zip(MONTHS, (62.0, 8.0, 48.0, 71.0, 6.0, 88.0), strict=True))
    assert values(line_chart([list(truth.values())], MONTHS, ticks=(40, 60, 80, 100))) == pytest.approx(truth, abs=2)


def test_slanted_labels_beside_level_bars_are_read() -> None:
    truth = {"Oslo": 12.0, "Lima": 44.0, "Rome": 31.0, "Kyiv": 25.0}
    image, pen = canvas()
    step = (BOTTOM - TOP) / len(truth)
    for index, (name, value) in enumerate(truth.items()):
        middle = TOP + (index + 0.5) * step
        pen.rectangle((LEFT, middle - 18, LEFT + value * 9, middle + 18), fill=BLUE)
        slanted(image, (LEFT - 4, middle), name)
    for tick in range(0, 60, 10):
        pen.text((LEFT + tick * 9, BOTTOM + 16), str(tick), font=FONT, fill="black", anchor="mm")
    assert values(png(image)) == pytest.approx(truth, abs=0.6)


def slanted(image: Image.Image, end: tuple[float, float], text: str) -> None:
    """Text that runs upwards by 45 degrees and ends at a point."""
    long = round(FONT.getlength(text))
    patch = Image.new("L", (long, 18), 0)
    ImageDraw.Draw(patch).text((0, 9), text, font=FONT, fill=255, anchor="lm")
    turned = patch.rotate(45, Image.Resampling.BICUBIC, expand=True)
    half = long / 2 * math.sqrt(0.5)
    place = round(end[0] - half - turned.width / 2), round(end[1] + half - turned.height / 2)
    image.paste(Image.new("RGB", turned.size, "black"), place, turned)


def test_the_tick_above_a_turned_label_is_no_sign() -> None:
    words = [
        Word(f"-{2011 + index}", (95.0 + 50 * index, 350.0, 107.0 + 50 * index, 385.0), 1.0, -90.0,
             (101.0 + 50 * index, 350.0)) for index in range(4)
    ]  # fmt: skip
    labels = labels_below(words, 340.0, (101.0, 251.0))
    assert [label.text for label in labels] == ["2011", "2012", "2013", "2014"]


def test_a_legend_with_the_plot_areas_background_does_not_hide_it() -> None:
    image, pen = canvas()
    pen.rectangle((LEFT, TOP + 40, 590, BOTTOM), fill="#eaeaf2")
    pen.rectangle((200, 10, 400, 40), fill="#eaeaf2")
    for row in range(TOP + 60, BOTTOM, 50):
        pen.line((LEFT, row, 590, row), fill="white", width=2)
    assert [hex_of(paper) for paper in scene_of(np.asarray(image), []).papers] == ["#ffffff", "#eaeaf2"]


def test_a_pale_line_beside_a_steep_one_is_its_halo() -> None:
    image, pen = canvas()
    data = (20.0, 90.0, 15.0, 80.0, 25.0, 95.0)
    step = (560 - LEFT) / len(data)
    points = [(LEFT + (index + 0.5) * step, BOTTOM - value * 2.8) for index, value in enumerate(data)]
    pen.line([(x + 5, y) for x, y in points], fill="#fde9e4", width=2, joint="curve")
    pen.line(points, fill="#e9603f", width=5, joint="curve")
    for tick in range(0, 120, 20):
        pen.text((LEFT - 9, BOTTOM - tick * 2.8), str(tick), font=FONT, fill="black", anchor="rm")
    for (x, _), name in zip(points, MONTHS, strict=True):
        pen.text((x, BOTTOM + 16), name, font=FONT, fill="black", anchor="mm")
    assert values(png(image)) == pytest.approx(dict(zip(MONTHS, data, strict=True)), abs=4)


def test_overlapping_labels_are_cut_at_their_places() -> None:
    word = Word("WindSolarCoffee Air", (100.0, 350.0, 252.0, 362.0), 1.0)
    marks = (117.0, 155.0, 158.0, 193.0, 240.0)
    labels = labels_below([word], 340.0, (117.0, 240.0), marks)
    assert [label.text for label in labels] == ["Wind", "Solar", "Coffee", "Air"]
    assert [label.position for label in labels] == pytest.approx([116, 157, 198, 239], abs=4)


@pytest.mark.parametrize("text", ["Switzerland", "New Zealand"])
def test_a_long_label_with_marks_above_it_is_one(text: str) -> None:
    words = [Word(text, (100.0 + 150 * place, 350.0, 200.0 + 150 * place, 362.0), 1.0) for place in range(3)]
    labels = labels_below(words, 340.0, (150.0, 450.0), (130.0, 150.0, 170.0, 300.0, 450.0))
    assert [label.text for label in labels] == [text] * 3
