from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.tools.vision.drawing import bar_chart
from tools.vision import ChartReading, TableReading, load, read_image
from tools.vision.advice import advise, render
from tools.vision.key_points import PointKind, key_points
from tools.vision.measures import Measures, measures_of

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun")


def table(header: tuple[str, ...], *rows: tuple[str, ...]) -> Measures:
    measures = measures_of(TableReading(header, rows, ruled=True, confidence=1.0))
    assert measures is not None
    return measures


def facts(measures: Measures) -> dict[PointKind, tuple[str, float]]:
    return {point.kind: (point.category, point.value) for point in key_points(measures)}


def test_a_tables_numeric_columns_are_its_series() -> None:
    measures = table(
        ("City", "Code", "Sales", "Share"), ("Oslo", "N-1", "1,200", "40%"), ("Rome", "I-7", "1,800", "60%")
    )
    assert measures.categories == ("Oslo", "Rome")
    assert measures.series == ("Sales", "Share")
    assert measures.values == ((1200, 1800), (40, 60))
    assert measures.units == ("", "%")


def test_a_first_column_of_years_is_the_axis() -> None:
    measures = table(("Year", "Users"), ("2021", "10"), ("2022", "30"), ("2023", "90"))
    assert (measures.categories, measures.series) == (("2021", "2022", "2023"), ("Users",))
    assert measures.ordered


def test_a_table_of_text_has_no_measures() -> None:
    assert measures_of(TableReading(("a", "b"), (("x", "y"),), ruled=True, confidence=1.0)) is None


def test_extremes_change_and_trend_are_computed() -> None:
    measures = Measures(MONTHS, ("Sales",), ((10, 12, 15, 19, 22, 30),))
    assert facts(measures) == {
        PointKind.LARGEST: ("Jun", 30), PointKind.SMALLEST: ("Jan", 10), PointKind.CHANGE: ("Jun", 2.0),
        PointKind.TREND: ("Jun", 1.0),
    }  # fmt: skip
    assert "change of Sales from Jan to Jun: 10 to 30 (+200.0%)" in [point.text for point in key_points(measures)]


def test_categories_without_an_order_have_no_trend() -> None:
    found = facts(Measures(("Oslo", "Rome", "Lima", "Kyiv", "Bern", "Riga"), ("",), ((1, 2, 3, 4, 5, 6),)))
    assert set(found) == {PointKind.LARGEST, PointKind.SMALLEST}


def test_an_outlier_is_named() -> None:
    found = facts(Measures(MONTHS, ("",), ((10, 11, 9, 10, 95, 12),)))
    assert found[PointKind.OUTLIER] == ("May", 95)


@given(st.lists(st.integers(-5, 5), min_size=5, max_size=12))
def test_a_trend_is_kendalls_tau_of_all_pairs(values: list[int]) -> None:
    signs = [(after > before) - (after < before) for before, after in combinations(values, 2)]
    months = tuple(f"2024-{place:02}" for place in range(len(values)))
    found = facts(Measures(months, ("",), (tuple(values),)))
    tau = sum(signs) / len(signs)
    assert found.get(PointKind.TREND) == ((months[-1], pytest.approx(tau)) if abs(tau) >= 0.6 else None)


class Compared(float):
    """A number that counts its comparisons."""

    count = 0

    def __lt__(self, other: float) -> bool:
        Compared.count += 1
        return float(self) < float(other)

    def __gt__(self, other: float) -> bool:
        Compared.count += 1
        return float(self) > float(other)


def test_a_trend_of_many_values_takes_few_comparisons() -> None:
    values = tuple(Compared((place * 7919) % 4001 + place) for place in range(4000))
    Compared.count = 0
    key_points(Measures(tuple(f"day {place}" for place in range(4000)), ("",), (values,)))
    assert 0 < Compared.count < 4000 * 60


def test_equal_values_have_no_extremes() -> None:
    assert key_points(Measures(("a", "b"), ("",), ((3, 3),))) == ()


@pytest.mark.parametrize(
    ("measures", "chart"),
    [
        (Measures(MONTHS, ("",), ((1, 2, 3, 4, 5, 6),)), "line"),
        (Measures(("a", "b", "c"), ("",), ((20, 30, 50),), units=("%",)), "pie"),
        (Measures(("a", "b", "c"), ("",), ((20, 30, 40),), units=("%",)), "bar"),
        (Measures(("a", "b", "c"), ("",), ((5, 3, 4),), parts=True), "pie"),
        (Measures(tuple("abcdefgh"), ("",), (tuple(range(1, 9)),), parts=True), "bar"),
        (Measures(("a", "b"), ("x", "y"), ((1, 2), (3, 4))), "grouped bar"),
        (Measures(tuple("abcdefghij"), ("",), (tuple(range(10)),)), "horizontal bar"),
    ],
)
def test_the_chart_fits_the_data(measures: Measures, chart: str) -> None:
    advice = advise(measures)
    assert advice.chart == chart
    assert advice.reason
    assert load(render(advice.spec)).format == "PNG"


def test_the_specification_shows_these_data() -> None:
    advice = advise(Measures(("a", "b"), ("x", "y"), ((1, None), (3, 4)), title="T"))
    assert advice.spec["title"] == "T"
    assert advice.spec["data"]["values"] == [
        {"category": "a", "series": "x", "value": 1}, {"category": "a", "series": "y", "value": 3},
        {"category": "b", "series": "y", "value": 4},
    ]  # fmt: skip


def test_wide_values_get_a_logarithmic_scale() -> None:
    advice = advise(Measures(MONTHS, ("",), ((1, 10, 100, 1000, 10_000, 100_000),)))
    assert advice.spec["encoding"]["y"]["scale"] == {"type": "log"}
    assert "logarithmic" in advice.reason


def test_an_advised_chart_is_read_back() -> None:
    advice = advise(Measures(("Oslo", "Lima", "Rome"), ("",), ((35, 81, 12),)))
    reading = read_image(render(advice.spec))
    assert isinstance(reading, ChartReading)
    assert {point.x: round(point.y) for point in reading.series[0].points} == pytest.approx(
        {"Oslo": 35, "Lima": 81, "Rome": 12}, abs=2
    )


names = st.text(max_size=30)


HOSTILE = (
    "\0\x1f",
    "\n",
    "\r",
    "\x85",
    "\u2028",
    "\u2029",
    "\ufffe",
    "\ud800",
    "<b>&amp;",
    '\\" + 1 + "',
    "\\u",
    "🂱" * 99,
    "a" * 5000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_label_renders(text: str) -> None:
    advice = advise(Measures((text, "b"), (text,), ((1, 2),), title=text, axis=text, units=(text,)))
    assert render(advice.spec).startswith(b"\x89PNG")


@given(
    st.lists(names, min_size=1, max_size=6, unique=True),
    st.lists(names, min_size=1, max_size=3, unique=True),
    st.data(),
)
@settings(deadline=None, max_examples=15)
def test_any_text_of_an_image_renders(categories: list[str], series: list[str], data: st.DataObject) -> None:
    number = st.none() | st.floats(-1e9, 1e9, allow_nan=False)
    values = tuple(tuple(data.draw(number) for _ in categories) for _ in series)
    assume(any(value is not None for row in values for value in row))
    measures = Measures(tuple(categories), tuple(series), values, title=data.draw(names))
    advice = advise(measures)
    json.dumps(advice.spec)
    key_points(measures)
    assert render(advice.spec).startswith(b"\x89PNG")


def test_a_chart_is_its_own_source() -> None:
    reading = read_image(bar_chart([(35, 81, 12, 57)], ("Oslo", "Lima", "Rome", "Kyiv")))
    assert isinstance(reading, ChartReading)
    measures = measures_of(reading)
    assert measures is not None
    assert facts(measures)[PointKind.LARGEST][0] == "Lima"
