"""``python -m bench holding-up``, whole, with few rounds."""

import io

import pytest
from rich.console import Console

from bench import holding_up
from tests.console import free_port


@pytest.mark.slow
def test_a_flood_is_measured_from_the_start_of_a_platform_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_up, "ROUNDS", 2)
    monkeypatch.setattr(holding_up, "LEAD_S", 0.5)
    rows = holding_up.measure(Console(file=io.StringIO()), free_port(), ["small"], ray=False)
    names = {row.name.removeprefix("holding_up_small_").removesuffix("_max") for row in rows}
    assert names == {f"{measured}_ms" for measured in ("stop", "clear", "healthz", "readyz")}
    assert all(0 < row.value < 60_000 for row in rows)
