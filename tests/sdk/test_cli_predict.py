"""``flightloop predict`` in a process of its own, against the API on a real HTTP server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agent.models.answer_chunks import Turn, text
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform
from flightloop.chat import ChatRequest
from flightloop.cli.predict import drawn, shown
from flightloop.content import Table
from flightloop.predictions import ChartAdvice, Prediction
from flightloop.runs import RunStatus
from tests.sdk.conftest import project, spec
from tests.tools.vision.drawing import bar_chart

PROGRAM = "from flightloop.cli import main; main()"
CSV = "month,sales\n2024-01,120\n2024-02,150\n2024-03,90\n"


def answered(request: ChatRequest) -> Turn:
    return text("Sales fell from 120 to 90." if "sales" in request.messages[-1].text else "Lima is the highest.")


@pytest.fixture
def serving() -> Iterator[Platform]:
    with Platform(project(spec()), AnsweringChatModel(answered)) as platform:
        yield platform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chart.png").write_bytes(bar_chart([(35, 81, 12, 57)], ("Oslo", "Lima", "Rome", "Kyiv")))
    (tmp_path / "sales.csv").write_text(CSV)
    return tmp_path


def flightloop(serving: Platform, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "FLIGHTLOOP_URL": serving.url, "FLIGHTLOOP_API_KEY": serving.api_key, "COLUMNS": "120",
        "PYTHONPATH": str(Path(__file__).parents[2] / "sdk"),
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, "predict", *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


def test_an_image_is_described_and_its_chart_drawn(serving: Platform, folder: Path) -> None:
    done = flightloop(serving, folder, "Which is first?", "--image", "chart.png", "--chart", "advised.svg")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Lima is the highest."
    assert any("largest value: 81" in line and "at Lima" in line and "image 1 at (" in line for line in lines)
    assert any(line.startswith("Chart  bar: separate categories") for line in lines)
    assert "described by model" in done.stdout
    assert (folder / "advised.svg").read_bytes().startswith(b"<svg")


def test_a_table_as_json_and_a_follow_up(serving: Platform, folder: Path) -> None:
    done = flightloop(serving, folder, "How did sales go?", "--table", "sales.csv", "--json", "--chart", "spec.json")
    assert done.returncode == 0, done.stderr
    found = Prediction.model_validate_json(done.stdout)
    assert found.description == "Sales fell from 120 to 90."
    assert json.loads((folder / "spec.json").read_text())["data"]["values"][0]["value"] == 120
    again = flightloop(serving, folder, "And which month was best for sales?", "--session", found.session_id)
    assert "largest value of sales: 150 at 2024-02" in again.stdout, again.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give a text, an image or a table"),
        (("--image", "none.png"), "none.png cannot be read"),
        (("--image", "sales.csv"), "not PNG, JPEG or WebP"),
        (("--table", "chart.png"), "not UTF-8"),
        (("--table", "sales.csv", "--chart", "chart.pdf"), "must end in .json, .svg or .png"),
    ],
)
def test_errors_take_one_line(serving: Platform, folder: Path, arguments: tuple[str, ...], says: str) -> None:
    done = flightloop(serving, folder, *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert says in done.stderr


def test_long_tables_are_cut_and_numbers_are_short() -> None:
    rows: list[Any] = [[f"row {index}", 123456.7 * index] for index in range(30)]
    found = Prediction(
        run_id="run_1", session_id="s", status=RunStatus.SUCCEEDED, description="So.", described_by="code",
        table=Table(columns=["name", "value"], rows=rows),
    )  # fmt: skip
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(shown(found, 100))
    console.file.close()
    told = console.export_text()
    assert "… 10 more" in told
    assert "246913" in told
    assert "e+05" not in told


def test_a_png_is_drawn() -> None:
    spec: dict[str, Any] = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json", "data": {"values": [{"a": 1}]},
        "mark": "bar", "encoding": {"x": {"field": "a", "type": "quantitative"}},
    }  # fmt: skip
    assert drawn(ChartAdvice(chart="bar", reason="", spec=spec), ".PNG").startswith(b"\x89PNG")
