"""``flightloop code`` in a process of its own, against the API on a real HTTP server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.models.answer_chunks import Turn, text
from agent.project.project import Project, load_project
from agent.testing.fakes import AnsweringChatModel
from agent.testing.platform import Platform
from flightloop.chat import ChatRequest
from tools.config import ToolsConfig
from tools.host import ToolHosts

ROOT = Path(__file__).parents[2]
PROGRAM = "from flightloop.cli import main; main()"
GOOD = "def double(x):\n    return 2 * x"
WRONG = "def double(x):\n    return x + 2"


def answered(request: ChatRequest) -> Turn:
    if "short tests" in request.messages[-1].text:
        return text("```python\nassert double(3) == 6\n```")
    wrong = "broken" in request.messages[1].text
    return text(f"```python\n{WRONG if wrong else GOOD}\n```")


def tool_hosts(_: Project) -> ToolHosts:
    return ToolHosts(["tools.builtin"], ToolsConfig(spare=0))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    data = tmp_path_factory.mktemp("data")
    coder = load_project(ROOT / "examples" / "coder", ())
    with Platform(coder, AnsweringChatModel(answered), data=data, hosts=tool_hosts) as platform:
        yield platform


def code(serving: Platform, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ, "FLIGHTLOOP_URL": serving.url, "FLIGHTLOOP_API_KEY": serving.api_key, "COLUMNS": "100",
        "PYTHONPATH": str(ROOT / "sdk"),
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, "code", *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


def test_the_program_is_shown_with_what_became_of_each_attempt(serving: Platform, tmp_path: Path) -> None:
    done = code(serving, tmp_path, "Write a function `double(x)`. double(2) == 4, double(0) == 0, double(-1) == -2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "program 1 (write) compiles, 4 of 4 tests pass" in done.stdout
    assert "json report" not in done.stdout
    assert f"\nsolution.py\n{GOOD}\n\ntest_solution.py\n" in done.stdout


def test_a_program_that_is_not_returned_can_be_looked_up(serving: Platform, tmp_path: Path) -> None:
    prompt = "Write a broken function `double(x)`. double(2) == 4, double(-1) == -2"
    done = code(serving, tmp_path, prompt, "--level", "high", "--rounds", "1", "--out", "made")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "program 1 (write) compiles, 1 of 2 tests pass: double(-1) should return -2, but it returned 1" in said
    assert "no program is returned: 1 program was written; the best one has 1 open problem" in said
    assert "The console shows the programs that were written, in the run run_" in said
    assert not (tmp_path / "made").exists()
