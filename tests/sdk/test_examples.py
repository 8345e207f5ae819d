"""The examples and the code in the documents do what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from flightloop.testing import FakeServer
from flightloop.testing.scene import shop

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "sdk/examples").glob("*.py"))


@pytest.fixture
def told(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.setenv("FLIGHTLOOP_URL", server.url)
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", server.api_key)
    monkeypatch.setattr("sys.argv", ["example"])
    return server


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples(told: FakeServer, capsys: pytest.CaptureFixture[str], example: Path) -> None:
    if example.stem == "approve":
        told.world = shop()
    runpy.run_path(str(example), run_name="__main__")
    said = capsys.readouterr().out
    expected = {"follow": "All done.", "parallel": "ticket-3 succeeded", "approve": "apr_"}
    assert expected[example.stem] in said


def test_the_documents_code(told: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sdk.md").read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/sdk.md", "exec"), scope)
    assert len(blocks) >= 2
    assert "succeeded" in capsys.readouterr().out
