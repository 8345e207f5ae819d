from __future__ import annotations

from bench.charts.hostile import damaged
from bench.charts.score import cells_right, values_right
from bench.charts.specimen import Specimen
from tools.vision import (
    AxisScale,
    ChartKind,
    ChartReading,
    ImageRefused,
    Point,
    Series,
    TableReading,
    TextReading,
    load,
)
from tools.vision.readings import NO_AXIS, Axis

TRUTH = Specimen("bar", ("Oslo", "Lima"), ("Plan", "Actual"), ((10, 20), (30, 40)))


def read(kind: ChartKind, *series: tuple[str, dict[str, float]]) -> ChartReading:
    made = tuple(
        Series(name, "#000000", tuple(Point(x, y, (0, 0), 1.0) for x, y in row.items())) for name, row in series
    )
    return ChartReading(kind, "", NO_AXIS, Axis(AxisScale.LINEAR), made, 1.0)


def test_values_count_under_their_series_and_category() -> None:
    reading = read(ChartKind.BAR, ("Actual", {"Lima": 41.9, "Oslo": 33}), ("Plan", {"Oslo": 10.4, "Lima": 20}))
    assert values_right(TRUTH, reading) == [True, True, False, True]


def test_unread_labels_are_matched_by_order() -> None:
    reading = read(ChartKind.BAR, ("Plan", {"Oslo": 10, "#2": 20}), ("", {"#1": 30, "#2": 40}))
    assert values_right(TRUTH, reading) == [True] * 4


def test_another_kind_or_a_missing_series_is_wrong() -> None:
    assert values_right(TRUTH, read(ChartKind.LINE, ("Plan", {"Oslo": 10}))) == [False] * 4
    assert values_right(TRUTH, read(ChartKind.BAR, ("Plan", {"Oslo": 10, "Lima": 20}))) == [True, True, False, False]
    assert values_right(TRUTH, TextReading(())) == [False] * 4


def test_cells_count_in_their_place() -> None:
    reading = TableReading(("a", "b"), (("1", "2 0"),), ruled=True, confidence=1.0)
    assert cells_right([("a", "b"), ("1", "20"), ("x", "y")], reading) == [True, True, True, True, False, False]


def test_damaged_files_are_refused_or_decoded() -> None:
    outcomes = []
    for data in damaged(24, "test"):
        try:
            outcomes.append(load(data).format)
        except ImageRefused as error:
            outcomes.append(str(error))
    assert len(outcomes) == 24
    assert sum(len(outcome) > 4 for outcome in outcomes) >= 15
