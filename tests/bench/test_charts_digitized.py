"""Plots of one line, read by the reader and by a peer that is told the axes."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from bench.charts.digitized import NAME, draw, measure, read, single_line, traced
from bench.charts.specimen import Specimen
from bench.peers.peer import Peer


def line(*values: float) -> Specimen:
    names = ("Oslo", "Lima", "Rome", "Kyiv", "Bern")[: len(values)]
    return Specimen("line", names, ("Plan",), (values,), style={"seed": 0.25})


def test_the_plot_area_is_where_the_axes_are() -> None:
    plot = draw(line(10, 20, 30, 40, 50))
    with Image.open(io.BytesIO(plot.image)) as image:
        grey = image.convert("L")
    left, top, right, bottom = plot.area
    for x, y in ((left, (top + bottom) // 2), (right, (top + bottom) // 2), ((left + right) // 2, bottom)):
        around = [grey.getpixel((x + dx, y + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        assert min(around) < 80, (x, y)
    assert (plot.x, plot.y) == (pytest.approx((-0.2, 4.2)), pytest.approx((8, 52)))


def test_a_traced_line_is_compared_at_the_categories() -> None:
    rising, falling = line(10, 20, 30, 40, 50), line(50, 40, 30, 20, 10)
    with Peer("fake_digitizer") as tool:  # it sees the diagonal of the plot area, which is this rising line
        assert traced(rising, draw(rising), tool) == [True] * 5
        assert traced(falling, draw(falling), tool) == [False, False, True, False, False]
    with Peer("fake_digitizer", blind=True) as tool:
        assert traced(rising, draw(rising), tool) == [False] * 5


def test_both_are_in_one_row() -> None:
    row = measure(Console(quiet=True), "test", 2, "fake_digitizer")
    assert (row.name, row.peer, row.note) == (NAME, "fake_digitizer", "fake_digitizer 0 is given the axes")
    assert row.value > 0.9
    assert row.peer_value is not None
    assert row.peer_value < row.value
    assert row.cases is not None


def test_without_the_peer_the_reader_is_measured_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = io.StringIO()
    row = measure(Console(file=told, width=200), "test", 1)
    assert (row.peer, row.peer_value) == (None, None)
    assert "python -m bench.peers.environment plotdigitizer" in told.getvalue()


def test_data_have_one_line_on_a_linear_axis() -> None:
    for number in range(30):
        specimen = single_line(random.Random(number))
        assert (len(specimen.names), specimen.log, specimen.printed, specimen.chinese) == (1, False, False, False)
    assert sum(read(line(10, 30, 20), draw(line(10, 30, 20)))) == 3
