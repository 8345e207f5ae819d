from __future__ import annotations

import pytest

from tests.tools.vision.drawing import stack_chart
from tools.vision import ChartReading, read_image

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")
VALUES = ((35.0, 41.0, 12.0, 27.0), (20.0, 22.0, 44.0, 50.0), (14.0, 31.0, 25.0, 9.0))


def rows_of(data: bytes) -> list[dict[str | float, float]]:
    reading = read_image(data)
    assert isinstance(reading, ChartReading)
    assert reading.stacked
    return [{point.x: point.y for point in series.points} for series in reading.series]


@pytest.mark.parametrize("edge", ["white", "black"])
def test_segments_meet_in_the_middle_of_their_edge_line(edge: str) -> None:
    rows = rows_of(stack_chart(VALUES, CITIES, edge=edge))
    for row, truth in zip(rows, VALUES, strict=True):
        assert row == pytest.approx(dict(zip(CITIES, truth, strict=True)), abs=0.5)


def test_a_thin_segment_that_its_number_fills_is_read() -> None:
    thin = ((6.2, 41.0, 12.0, 27.0), (20.0, 6.3, 44.0, 50.0), (14.0, 31.0, 6.1, 6.4))
    rows = rows_of(stack_chart(thin, CITIES, edge="black", line=1, printed=True))
    for row, truth in zip(rows, thin, strict=True):
        assert row == dict(zip(CITIES, truth, strict=True))


@pytest.mark.parametrize("hatched", [(0, 1), (1, 1)])
def test_what_stands_on_a_part_that_was_not_found_is_read(hatched: tuple[int, int]) -> None:
    rows = rows_of(stack_chart(VALUES, CITIES, edge="black", hatched=hatched))
    for series, (row, truth) in enumerate(zip(rows, VALUES, strict=True)):
        expected = {city: value for place, (city, value) in enumerate(zip(CITIES, truth, strict=True))
                    if (series, place) != hatched}  # fmt: skip
        assert row == pytest.approx(expected, abs=0.5)
