"""The examples and the code in the documents do what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from agent.testing.api import KEY
from agent.testing.platform import Platform
from agent.testing.scene import shop

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "sdk/examples").glob("*.py"))


@pytest.fixture
def told(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", KEY)
    monkeypatch.setattr("sys.argv", ["example"])


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, example: Path) -> None:
    if example.stem == "approve":
        with shop() as waiting:
            monkeypatch.setenv("FLIGHTLOOP_URL", waiting.url)
            runpy.run_path(str(example), run_name="__main__")
    else:
        runpy.run_path(str(example), run_name="__main__")
    said = capsys.readouterr().out
    expected = {"follow": "All done.", "parallel": "ticket-3 succeeded", "approve": "apr_"}
    assert expected[example.stem] in said


@pytest.mark.usefixtures("told")
def test_the_documents_code(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sdk.md").read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/sdk.md", "exec"), scope)
    assert len(blocks) >= 2
    assert "succeeded" in capsys.readouterr().out
