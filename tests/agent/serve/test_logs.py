"""The file that the processes of a cluster log to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
import structlog

from agent.config import Settings
from agent.project.project import LiveProject
from agent.serve.logs import log_file, log_to_file
from flightloop.cli.project import write_project

log = structlog.get_logger()


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    yield Settings(home=tmp_path / "home", log_level="warning")
    structlog.reset_defaults()


def logging_to_file(settings: Settings, process: str) -> FileIO:
    file = log_to_file(settings, process)
    assert file is not None
    return file


def test_processes_append_lines_from_their_level_on(settings: Settings) -> None:
    for process in ("worker", "api"):
        with logging_to_file(settings, process):
            log.warning("told")
            log.info("below the level")
    lines = [json.loads(line) for line in log_file(settings).read_text().splitlines()]
    assert [(line["process"], line["event"], line["level"]) for line in lines] == [
        ("worker", "told", "warning"),
        ("api", "told", "warning"),
    ]


def test_a_mistake_in_a_project_is_told_there(settings: Settings, tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    live = LiveProject(tmp_path / "notes", ())
    (tmp_path / "notes" / "agents" / "second.yaml").write_text("colour: red\n")
    with logging_to_file(settings, "worker"):
        live.current()
    line = json.loads(log_file(settings).read_text())
    assert (line["level"], "second.yaml:1: instructions" in line["error"]) == ("error", True)


def test_without_a_folder_to_write_to_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert log_to_file(Settings(home=tmp_path / "file" / "home"), "model") is None
    log.warning("told")
    assert "the log cannot be written" in (said := capsys.readouterr().err)
    assert "told" in said
    structlog.reset_defaults()


def test_a_line_has_no_addresses_of_people(settings: Settings) -> None:
    with logging_to_file(settings, "worker"):
        log.warning("a tool failed", problem="no order of anna@mail.example.org", count=3)
    event = json.loads(log_file(settings).read_text())
    assert (event["problem"], event["count"]) == ("no order of [redacted:email]", 3)
