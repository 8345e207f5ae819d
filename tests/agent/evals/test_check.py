"""``python -m agent eval --check``: task files are read without a model."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from agent.admin.evals import Wish, check
from agent.config import load_settings
from agent.evals.task import TaskError
from flightloop.cli.project import write_project


def test_task_files_are_checked_without_a_model(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    settings = load_settings(home=tmp_path / "home", project=tmp_path / "notes")
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    assert check(settings, Wish(), console)
    assert printed.getvalue() == f"2 tasks of {tmp_path / 'notes'}: no mistakes\n"
    wrong = {"id": "a", "agent": "notes", "turns": [{"user": "x"}], "not_called": [{"tool": "add_remindr"}]}
    (tmp_path / "notes" / "tasks" / "more.jsonl").write_text(json.dumps(wrong))
    assert not check(settings, Wish(), console)
    assert "more.jsonl:1: not_called.0.tool: notes has no tool named add_remindr; did you mean add_reminder or" in (
        printed.getvalue()
    )
    (tmp_path / "notes" / "tasks" / "more.jsonl").write_text(json.dumps({**wrong, "agent": "nobody"}))
    with pytest.raises(TaskError, match=r"more.jsonl:1: agent: "):
        check(settings, Wish(), console)


def test_arguments_that_no_call_can_have_are_mistakes(tmp_path: Path) -> None:
    write_project(tmp_path / "notes")
    settings = load_settings(home=tmp_path / "home", project=tmp_path / "notes")
    for arguments, told in (
        ({"txt": "milk"}, "txt is unknown: use only text"),
        ({"text": 3}, "text must be a text, not 3"),
        ({"text": "milk"}, None),
        ({}, None),
    ):
        task = {"id": "a", "agent": "notes", "turns": [{"user": "x"}]}
        task["not_called"] = [{"tool": "add_reminder", "arguments": arguments}]
        (tmp_path / "notes" / "tasks" / "more.jsonl").write_text(json.dumps(task))
        printed = io.StringIO()
        assert check(settings, Wish(), Console(file=printed, width=200)) == (told is None)
        assert (f"more.jsonl:1: not_called.0.arguments: {told}" in printed.getvalue()) == (told is not None)
