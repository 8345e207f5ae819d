"""Names and values of slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.tools.vision.drawing import BLUE, COLOURS, FONT, GREEN, ORANGE, canvas, leader, pie_chart, png
from tools.vision import ChartReading, read_image
from tools.vision.legend import LegendEntry, legend_of
from tools.vision.numerals import Numeral
from tools.vision.ocr import Word
from tools.vision.pie_names import label_name, legend_texts
from tools.vision.pie_values import counts_up, values_at
from tools.vision.scene import Lab, scene_of, to_lab

YEARS = ("2012", "2013", "2014")


def values(data: bytes) -> dict[str | float, float]:
    reading = read_image(data)
    assert isinstance(reading, ChartReading)
    return {point.x: point.y for point in reading.series[0].points}


def labelled(shares: Sequence[float], labels: Sequence[str], colours: Sequence[str]) -> bytes:
    """Slices with leader lines to their labels, without a legend."""
    image, pen = canvas()
    start = -90.0
    for value, label, colour in zip(shares, labels, colours, strict=True):
        end = start + 360 * value / sum(shares)
        pen.pieslice((120, 80, 400, 360), start, end, fill=colour)
        leader(pen, math.radians((start + end) / 2), label, colour)
        start = end
    return png(image)


def lab(colour: str) -> Lab:
    levels = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    found: Lab = to_lab(np.array([[levels]], dtype=np.uint8))[0, 0]
    return found


def test_years_in_the_legend_are_names() -> None:
    truth = dict(zip(YEARS, (34.0, 34.0, 32.0), strict=True))
    assert values(pie_chart(list(truth.values()), YEARS)) == pytest.approx(truth, abs=0.7)


def test_years_at_the_slices_are_names() -> None:
    truth = dict(zip(YEARS, (34.0, 34.0, 32.0), strict=True))
    assert values(labelled(list(truth.values()), YEARS, COLOURS)) == pytest.approx(truth, abs=0.7)


def test_a_year_before_a_colon_is_a_name() -> None:
    texts = [f"{year}: {share}%" for year, share in zip(YEARS, (45, 33, 22), strict=True)]
    assert values(labelled((45, 33, 22), texts, COLOURS)) == {"2012": 45, "2013": 33, "2014": 22}


def test_neighbours_of_one_colour_are_divided_by_their_leader_lines() -> None:
    truth = {"Rail": 21.0, "Road": 29.0, "Sea": 36.0, "Air": 14.0}
    found = values(labelled(list(truth.values()), list(truth), (BLUE, ORANGE, GREEN, BLUE)))
    assert found == pytest.approx(truth, abs=1.0)


@pytest.mark.parametrize(
    ("text", "name"), [("2012: 22.02%", "2012"), ("Rail: 22%", "Rail"), ("Rail 37 (22%)", "Rail"), ("22%", "")]
)
def test_a_labels_name(text: str, name: str) -> None:
    assert label_name(text) == name


@pytest.mark.parametrize(
    ("texts", "up"),
    [(YEARS, True), (("2014", "2012", "2013"), True), (("12", "40", "31"), False), (("34%", "35%", "36%"), False),
     (("Rail", "Road", "Sea"), False), (("1", "2"), False)],
)  # fmt: skip
def test_numbers_that_follow_each_other_count_up(texts: Sequence[str], up: bool) -> None:
    assert counts_up(texts) == up


def test_a_legend_of_values_keeps_them() -> None:
    assert values_at([[], []], ["46% Rent", "54% Food"]) == [[Numeral(46, "%")], [Numeral(54, "%")]]
    assert values_at([["2012: 46%"], ["54%"]], ["2012", "2013"]) == [[Numeral(46, "%")], [Numeral(54, "%")]]


def test_slices_without_a_match_get_the_entries_that_are_left() -> None:
    drawn = ("#f0543b", "#656efb", "#02cd98")
    samples = ("#d06350", "#6b6ee7", "#17c392")  # of a JPEG
    legend = [
        LegendEntry(Word(name, (0.0, 0.0, 30.0, 10.0), 1.0), (0.0, 0.0, 8.0, 8.0), lab(colour))
        for name, colour in zip(("Road", "Rail", "Sea"), samples, strict=True)
    ]
    assert legend_texts([lab(colour) for colour in drawn], legend) == ["Road", "Rail", "Sea"]
    assert legend_texts([lab("#ffff00"), lab(drawn[1]), lab(drawn[2])], legend) == ["", "Rail", "Sea"]


def test_a_framed_legend_with_its_own_background_names_the_slices() -> None:
    image, pen = canvas()
    start = 0.0
    for share, colour in zip((34, 37, 29), COLOURS, strict=True):
        pen.pieslice((60, 80, 340, 360), start, start + 3.6 * share, fill=colour)
        start += 3.6 * share
    pen.rectangle((420, 180, 520, 260), fill="#eaeaf2", outline="#cccccc")
    for row, name, colour in zip((200, 220, 240), ("Tea", "South", "Perth"), COLOURS, strict=True):
        pen.rectangle((430, row - 4, 450, row + 4), fill=colour)
        pen.text((458, row), name, font=FONT, fill="black", anchor="lm")
    assert values(png(image)) == pytest.approx({"Tea": 34, "South": 37, "Perth": 29}, abs=0.7)


def test_a_mark_beside_a_number_on_a_slice_is_no_legend() -> None:
    image, pen = canvas()
    pen.rectangle((100, 100, 300, 300), fill="#994fa3")
    pen.rectangle((180, 195, 186, 203), fill="#ffff32")
    words = [Word("8.2%", (196.0, 193.0, 226.0, 206.0), 1.0)]
    assert legend_of(scene_of(np.asarray(image), words), words) == []
