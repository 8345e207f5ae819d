"""What is drawn over an image, and the tables and charts beside it, as plain data."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.overlay import LABELLED, PALETTE, SURE, UNSURE, marks, overlay
from dashboards.reading_table import of_reading, of_table
from dashboards.suggested_chart import RADII, on_page
from flightloop.content import Table
from flightloop.readings import ImageReading
from tools.vision.advice import advise
from tools.vision.measures import measures_of
from tools.vision.readings import TableReading

PIXEL = "data:image/png;base64,iVBORw0KGgo="
EVIL = "<img src=x onerror=alert(1)> **b** [x](http://evil.example)"


def reading(points: int = 2, *, confidence: float = 0.9, colour: str = "#1f77b4", name: str = "online") -> ImageReading:
    found = [
        {"x": f"c{index}", "y": 10.5 * index, "pixel": [100 * index + 50, 40], "confidence": confidence}
        for index in range(points)
    ]
    return ImageReading.model_validate(
        {
            "kind": "chart", "chart": "bar", "width": 600, "height": 400, "confidence": 0.9,
            "series": [{"name": name, "colour": colour, "points": found}],
        }
    )  # fmt: skip


def drawn(spec: dict[str, Any], width: int) -> str:
    """SVG of a specification in a place of that width."""
    vl_convert = pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    fixed = {**spec, "width": width}
    return str(vl_convert.vegalite_to_svg(json.dumps(fixed), allowed_base_urls=["data:"]))


@pytest.mark.parametrize(("width", "scale"), [(300, 0.5), (240, 0.4), (900, 0.5)])
def test_marks_lie_on_the_image_at_any_width(width: int, scale: float) -> None:
    """The view is 200 pixels high for this image of 600 × 400, so that 300 pixels of width are enough for all of it."""
    svg = drawn(overlay(PIXEL, reading()), width)
    (image,) = re.findall(r"<image [^>]*", svg)
    size = [float(value) for value in re.findall(r'(?:width|height)="([\d.]+)"', image)]
    assert size == pytest.approx([600 * scale, 400 * scale])
    found = re.findall(r'translate\(([\d.]+),([\d.]+)\)" d="M[^"]*" fill="#1f77b4"', svg)
    assert [(float(x), float(y)) for x, y in found] == [
        pytest.approx((50 * scale, 40 * scale)),
        pytest.approx((150 * scale, 40 * scale)),
    ]


def test_low_confidence_is_marked_by_shape_and_text() -> None:
    sure, unsure = drawn(overlay(PIXEL, reading()), 300), drawn(overlay(PIXEL, reading(confidence=0.6)), 300)
    assert "10.5 ?" in unsure
    assert "10.5 ?" not in sure
    shapes = {svg: set(re.findall(r' d="(M[^"]*)" fill="#1f77b4"', svg)) for svg in (sure, unsure)}
    assert shapes[sure].isdisjoint(shapes[unsure])
    assert SURE != UNSURE


def test_values_of_many_points_appear_on_hover_only() -> None:
    few, many = overlay(PIXEL, reading(LABELLED)), overlay(PIXEL, reading(LABELLED + 1))
    assert [len([one for one in spec["layer"] if one["mark"]["type"] == "text"]) for spec in (few, many)] == [2, 0]
    assert many["layer"][1]["encoding"]["tooltip"][-1]["field"] == "confidence"


def test_a_colour_that_is_none_is_replaced() -> None:
    assert {row["colour"] for row in marks(reading(colour="red;x"))} == {PALETTE[0]}


@given(st.text(max_size=50), st.text(max_size=50))
def test_texts_of_an_image_are_data_only(name: str, other: str) -> None:
    """Whatever an image says, the specification differs in values of the data alone."""

    def without_data(one: ImageReading) -> dict[str, Any]:
        spec = overlay(PIXEL, one)
        return {**spec, "layer": [{**layer, "data": None} for layer in spec["layer"]]}

    assert without_data(reading(name=f"x{name}")) == without_data(reading(name=f"x{other}"))


def test_a_chart_is_a_table_of_values_with_their_confidence() -> None:
    table = of_reading(reading(confidence=0.6))
    assert table.columns == ("series", "category", "value", "confidence")
    assert table.rows[1] == ("online", "c1", 10.5, 60.0)
    assert (table.confidence, table.low) == ("confidence", frozenset({0, 1}))
    assert of_reading(reading()).low == frozenset()


def test_a_chart_may_name_its_axis_like_a_column_of_ours() -> None:
    one = reading(name="").model_copy(update={"axis": "confidence", "value_axis": "confidence"})
    table = of_reading(one)
    assert table.columns == ("confidence", "confidence (2)", "confidence (3)")
    assert table.confidence == "confidence (3)"


def test_tables_and_texts() -> None:
    head = {"width": 10, "height": 10, "confidence": 1}
    read = ImageReading.model_validate(
        {"kind": "table", "columns": ["a", "", "a"], "rows": [["1"], ["2", "3", "4"]], **head}
    )
    assert of_reading(read).columns == ("a", "column 2", "a (2)")
    assert of_reading(read).rows == (("1", "", ""), ("2", "3", "4"))
    text = ImageReading.model_validate({"kind": "text", "lines": ["one", "t\u202ewo"], **head})
    assert of_reading(text).rows == (("one",), ("t\ufffdwo",))


def test_a_column_of_several_types_is_shown_as_text() -> None:
    table = of_table(Table(columns=["a", "b"], rows=[["x", 1], [2.5, 2.5], [True, None]]))
    assert table.rows == (("x", 1), ("2.5", 2.5), ("true", None))


def test_of_a_huge_table_a_part_is_shown() -> None:
    table = of_table(Table(columns=["a"] * 120, rows=[[1] * 120] * 5))
    assert (len(table.columns), len(table.rows)) == (100, 5)
    assert table.cut == "The first 5 rows and 100 columns of 5 rows and 120 columns."
    assert of_table(Table(columns=["a"], rows=[[1]])).cut == ""


@given(st.lists(st.text(max_size=4), min_size=1, max_size=8))
def test_columns_have_different_names(names: list[str]) -> None:
    found = of_table(Table(columns=names, rows=[])).columns
    assert len(set(found)) == len(names)
    assert all(name.strip() for name in found)


def advised(columns: tuple[str, ...], *rows: tuple[str, ...]) -> dict[str, Any]:
    measures = measures_of(TableReading(columns, rows, True, 1.0))
    assert measures is not None
    return advise(measures).spec


@pytest.mark.parametrize(
    "spec",
    [
        advised(("city", "orders"), ("Oslo", "12"), ("Rome", "30")),
        advised(("month", "sales"), ("2024-01", "1"), ("2024-02", "3"), ("2024-03", "2")),
        advised(("part", "%"), ("a", "50 %"), ("b", "50 %")),
        advised(("a long name", "n"), *((f"category number {index}", f"{index}") for index in range(12))),
    ],
    ids=["bars", "line", "pie", "lying bars"],
)
def test_a_suggested_chart_fits_the_page_and_renders(spec: dict[str, Any]) -> None:
    fitted = on_page(spec)
    assert (fitted["width"], fitted["background"]) == ("container", "transparent")
    assert fitted["data"] == spec["data"]
    assert drawn(fitted, 290).startswith("<svg")
    for layer in fitted.get("layer", ()):
        assert max(layer["mark"].get(name, 0) for name in RADII) <= 112
