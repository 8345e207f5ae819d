from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.rows import Row, write
from bench.tools.categories import chosen
from bench.tools.gain import PARTS, mean_before, preference_gain
from flightloop.errors import ConfigError

LIVE = ["live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"]
NEEDED = chosen([*LIVE, "irrelevance", "live_irrelevance"])


def measured(*shares: float) -> list[Row]:
    return [Row(name, share, "share") for name, share in zip(PARTS, shares, strict=False)]


def test_what_was_gained_is_the_difference_of_the_means_in_points(tmp_path: Path) -> None:
    write([*measured(0.2, 0.6), Row("other", 1.0, "s")], tmp_path / "before.json")
    row = preference_gain(measured(0.1, 0.76), mean_before(tmp_path / "before.json", NEEDED))
    assert (row.name, row.unit) == ("preference_gain", "points")
    assert row.value == pytest.approx(3.0)
    assert row.note == "mean of live AST and irrelevance: 43.0% against 40.0%"


def test_what_is_missing_is_said_before_anything_is_played(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    write(measured(0.2, 0.6), file)
    with pytest.raises(BenchError, match="measure live_irrelevance, live_multiple"):
        mean_before(file, chosen(["irrelevance", "live_simple", "live_parallel", "live_parallel_multiple"]))
    write(measured(0.2), file)
    with pytest.raises(BenchError, match=f"has no {PARTS[1]}"):
        mean_before(file, NEEDED)
    file.write_text("{}")
    with pytest.raises((BenchError, ConfigError)):
        mean_before(file, NEEDED)
