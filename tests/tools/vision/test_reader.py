from __future__ import annotations

import math
from datetime import date

import pytest

from tests.tools.vision.drawing import (
    bar_chart,
    dated_line,
    level_bars,
    line_chart,
    line_from_the_axis,
    panels,
    pie_chart,
    table_image,
    text_image,
    turned,
)
from tools.vision import AxisScale, ChartKind, ChartReading, TableReading, TextReading, read_image
from tools.vision.measures import measures_of
from tools.vision.panels import repeated

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")


def chart(data: bytes) -> ChartReading:
    reading = read_image(data)
    assert isinstance(reading, ChartReading)
    return reading


def values(reading: ChartReading, series: int = 0) -> dict[str | float, float]:
    return {point.x: point.y for point in reading.series[series].points}


def near(expected: dict[str, float], tolerance: float) -> object:
    return pytest.approx(expected, abs=tolerance)


def test_bars_are_measured_on_the_axis() -> None:
    reading = chart(bar_chart([(35, 81, 12, 57)], CITIES))
    assert (reading.kind, reading.horizontal, reading.stacked) == (ChartKind.BAR, False, False)
    assert (reading.y_axis.scale, reading.y_axis.low, reading.y_axis.high) == (AxisScale.LINEAR, 0, 100)
    assert reading.x_axis.labels == CITIES
    assert values(reading) == near(dict(zip(CITIES, (35, 81, 12, 57), strict=True)), 1.0)
    assert not any(point.printed for point in reading.series[0].points)


def test_grouped_bars_get_the_legends_names() -> None:
    reading = chart(bar_chart([(35, 81, 12, 57), (60, 22, 44, 90)], CITIES, ("Plan", "Actual")))
    assert [series.name for series in reading.series] == ["Plan", "Actual"]
    assert [series.colour for series in reading.series] == ["#1f77b4", "#ff7f0e"]
    assert values(reading, 1) == near(dict(zip(CITIES, (60, 22, 44, 90), strict=True)), 1.0)


def test_stacked_bars_are_measured_from_the_bar_below() -> None:
    reading = chart(bar_chart([(35, 41, 12, 27), (20, 22, 44, 50)], CITIES, ("Plan", "Actual"), stacked=True))
    assert reading.stacked
    assert values(reading, 1) == near(dict(zip(CITIES, (20, 22, 44, 50), strict=True)), 1.2)


def test_panels_are_series_of_the_same_categories() -> None:
    truth = {"Berlin": (35, 81, 12), "Paris": (60, 22, 44)}
    reading = chart(panels(truth, CITIES[:3]))
    assert [series.name for series in reading.series] == list(truth)
    assert reading.x_axis.labels == CITIES[:3]
    for place, row in enumerate(truth.values()):
        assert values(reading, place) == near(dict(zip(CITIES, row, strict=False)), 1.0)


def test_categories_of_one_name_keep_their_values() -> None:
    reading = chart(bar_chart([(35, 81, 12, 57)], ("Oslo", "Lima", "Oslo", "Rome")))
    measures = measures_of(reading)
    assert measures
    assert measures.categories == ("Oslo", "Lima", "Oslo (2)", "Rome")
    assert measures.values[0] == pytest.approx((35, 81, 12, 57), abs=1.0)


def test_bars_below_the_baseline_are_negative() -> None:
    reading = chart(bar_chart([(35, -81, 12, -27)], CITIES, low=-100, ticks=(-100, -50, 0, 50, 100)))
    assert values(reading) == near(dict(zip(CITIES, (35, -81, 12, -27), strict=True)), 2.0)


def test_level_bars_have_their_categories_at_the_left() -> None:
    reading = chart(level_bars((12, 44, 31), ("Tea", "Rice", "Corn")))
    assert reading.horizontal
    assert values(reading) == near({"Tea": 12, "Rice": 44, "Corn": 31}, 0.6)


def test_printed_values_replace_measured_ones() -> None:
    reading = chart(bar_chart([(35.4, 81.2, 12.7, 57.9)], CITIES, printed=True))
    assert values(reading) == dict(zip(CITIES, (35.4, 81.2, 12.7, 57.9), strict=True))
    assert all(point.printed and point.confidence > 0.9 for point in reading.series[0].points)


def test_without_an_axis_printed_values_are_read() -> None:
    reading = chart(bar_chart([(35.4, 81.2, 12.7, 57.9)], CITIES, printed=True, ticks=()))
    assert reading.y_axis.scale is AxisScale.NONE
    assert reading.notes
    assert values(reading) == dict(zip(CITIES, (35.4, 81.2, 12.7, 57.9), strict=True))


def test_points_lie_where_they_are_drawn() -> None:
    reading = chart(bar_chart([(35, 81, 12, 57)], CITIES))
    x, y = reading.series[0].points[1].pixel
    assert (x, y) == (pytest.approx(260, abs=2), pytest.approx(340 - 0.81 * 280, abs=2))


def test_lines_are_told_apart_by_colour() -> None:
    names = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")
    first, second = (20, 45, 30, 80, 62, 75), (70, 66, 52, 31, 40, 12)
    reading = chart(line_chart([first, second], names, ("Plan", "Actual")))
    assert reading.kind is ChartKind.LINE
    assert [series.name for series in reading.series] == ["Plan", "Actual"]
    assert values(reading) == near(dict(zip(names, first, strict=True)), 1.5)
    assert values(reading, 1) == near(dict(zip(names, second, strict=True)), 1.5)


def test_years_on_the_axis_are_numbers() -> None:
    years = ("2018", "2019", "2020", "2021", "2022")
    reading = chart(line_chart([(20, 45, 30, 80, 62)], years))
    assert values(reading) == pytest.approx({2018.0: 20, 2019.0: 45, 2020.0: 30, 2021.0: 80, 2022.0: 62}, abs=1.5)


def test_points_between_the_ticks_of_a_time_axis_have_their_dates() -> None:
    truth = {date(2026, 3, 4): 40.0, date(2026, 3, 19): 62.0, date(2026, 4, 9): 35.0, date(2026, 5, 12): 81.0}
    months = {
        "01 Mar": date(2026, 3, 1),
        "01 Apr": date(2026, 4, 1),
        "01 May": date(2026, 5, 1),
        "01 Jun": date(2026, 6, 1),
    }
    reading = chart(dated_line(truth, months))
    assert values(reading) == near({"4 Mar": 40, "19 Mar": 62, "9 Apr": 35, "12 May": 81}, 1.0)


def test_a_line_that_begins_at_the_axis_has_its_first_value() -> None:
    truth = dict(zip((2009.0, 2010.0, 2011.0, 2012.0), (63.0, 25.0, 71.0, 38.0), strict=True))
    assert values(chart(line_from_the_axis(list(truth.values()), [int(year) for year in truth]))) == near(truth, 1.5)


def test_markers_at_the_months_keep_these_if_some_are_not_seen() -> None:
    months = {name: date(2026, place, 1) for place, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun"), 1)}
    truth = dict(zip(months, (60.0, 62.0, 98.0, 4.0, 60.0, 62.0), strict=True))
    reading = chart(dated_line({months[name]: value for name, value in truth.items()}, months))
    assert values(reading) == near(truth, 4.0)  # where steep parts meet, a pixel to the side is some units of height


def test_a_logarithmic_axis_is_recognised() -> None:
    names = ("Jan", "Feb", "Mar", "Apr", "May")
    truth = (30, 700, 90, 4000, 1500)
    reading = chart(line_chart([truth], names, low=10, high=10_000, ticks=(10, 100, 1000, 10_000), log=True))
    assert reading.y_axis.scale is AxisScale.LOG
    assert values(reading) == pytest.approx(dict(zip(names, truth, strict=True)), rel=0.05)


@pytest.mark.parametrize("degrees", [-3.0, 0.8])
def test_a_scan_that_lies_askew_is_read_straight(degrees: float) -> None:
    reading = chart(turned(bar_chart([(35, 81, 12, 57)], CITIES), degrees))
    assert values(reading) == near(dict(zip(CITIES, (35, 81, 12, 57), strict=True)), 1.2)
    x, y = reading.series[0].points[1].pixel  # in the image as it was sent
    angle = math.radians(degrees)
    across, down = 260 - 300, 340 - 0.81 * 280 - 200
    assert x == pytest.approx(300 + across * math.cos(angle) + down * math.sin(angle), abs=2.5)
    assert y == pytest.approx(200 - across * math.sin(angle) + down * math.cos(angle), abs=2.5)


@pytest.mark.parametrize("hole", [0, 70])
def test_slices_are_measured_by_angle(hole: float) -> None:
    reading = chart(pie_chart((50, 30, 20), ("Rail", "Road", "Sea"), hole=hole))
    assert reading.kind is ChartKind.PIE
    assert values(reading) == near({"Rail": 50, "Road": 30, "Sea": 20}, 0.7)


def test_a_slice_pulled_out_of_the_disc_is_read_if_values_are_printed() -> None:
    names = ("Rail 45%", "Road 33%", "Sea 22%")
    assert values(chart(pie_chart((45, 33, 22), names, pulled=12))) == {"Rail": 45, "Road": 33, "Sea": 22}
    unprinted = read_image(pie_chart((45, 33, 22), ("Rail", "Road", "Sea"), pulled=12))
    assert not isinstance(unprinted, ChartReading)


def test_values_of_slices_are_read_from_the_legend() -> None:
    reading = chart(pie_chart((50, 30, 20), ("Rail: 515 EUR", "Road: 309 EUR", "Sea: 206 EUR"), hole=70))
    assert values(reading) == {"Rail": 515, "Road": 309, "Sea": 206}
    assert all(point.printed for point in reading.series[0].points)
    assert reading.y_axis.unit == "EUR"


@pytest.mark.parametrize("labelled", [True, False])
def test_slices_of_one_colour_have_their_own_names(labelled: bool) -> None:
    truth = {"Rail": 30, "Road": 24, "Ship": 18, "Plane": 16, "Horse": 12}
    assert values(chart(pie_chart(list(truth.values()), list(truth), labelled=labelled))) == near(truth, 0.7)


def test_a_legend_in_small_letters_names_the_slices() -> None:
    reading = chart(pie_chart((50, 30, 20), ("Lima", "Rome", "Retail"), size=9))
    assert values(reading) == near({"Lima": 50, "Rome": 30, "Retail": 20}, 0.7)


@pytest.mark.parametrize("ruled", [True, False])
def test_a_table_keeps_its_cells(ruled: bool) -> None:
    rows = (("Name", "Units", "Price"), ("Apples", "120", "3.50"), ("Pears", "85", "12.25"), ("Plums", "7", "9.99"))
    reading = read_image(table_image(rows, ruled=ruled))
    assert isinstance(reading, TableReading)
    assert (reading.header, reading.rows, reading.ruled) == (rows[0], rows[1:], ruled)


def test_other_images_are_read_as_text() -> None:
    reading = read_image(text_image(("Minutes of the meeting", "The budget was approved.", "Next date: 12 May")))
    assert isinstance(reading, TextReading)
    assert reading.text.splitlines() == ["Minutes of the meeting", "The budget was approved.", "Next date: 12 May"]


def test_an_empty_image_has_no_text() -> None:
    reading = read_image(text_image(()))
    assert isinstance(reading, TextReading)
    assert reading.lines == ()


@pytest.mark.parametrize(
    ("texts", "names"),
    [(["Q1", "Q2", "Q1", "Q2"], ["Q1", "Q2"]), (["a", "b", "c"] * 3, ["a", "b", "c"]), (["a", "b", "a"], []),
     (["a", "a", "a", "a"], []), (["a", "b", "c", "a", "8", "c", "a", "b", "c"], ["a", "b", "c"]), (["", "b"] * 2, []),
     (["a", "b", "c", "d"], []), ([], [])],
)  # fmt: skip
def test_repeated_categories_are_recognised(texts: list[str], names: list[str]) -> None:
    assert repeated(texts) == names
