"""The agent's tool ``scan_code``, in its sandboxed host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flightloop.tool import ToolContext
from tools.builtin.code import MOST_FINDINGS, scan_code
from tools.config import ToolsConfig
from tools.host import ToolHosts


@pytest.fixture
async def hosts() -> AsyncIterator[ToolHosts]:
    async with ToolHosts(["tools.builtin"], ToolsConfig(spare=0)) as made:
        yield made


@pytest.mark.parametrize(
    ("code", "language", "weakness"),
    [
        ("import logging.config\nlogging.config.listen(9999)\n", "python", "CWE-94"),
        ('class A { Object c() throws Exception { return Cipher.getInstance("DES"); } }', "java", "CWE-327"),
    ],
)
async def test_the_tool_works_in_the_sandbox(
    code: str, language: str, weakness: str, hosts: ToolHosts, tmp_path: Path
) -> None:
    context = ToolContext("run:0:0", "default", "coder", "session", "run", tmp_path)
    outcome = await hosts.call("scan_code", {"code": code, "language": language}, context)
    assert outcome.ok, outcome.error
    assert [finding["cwe"] for finding in outcome.content["findings"]] == [weakness]
    assert outcome.content["complete"] is True


def test_many_findings_are_cut_with_a_note() -> None:
    result = scan_code("import os\ndef f(x):\n" + "    os.system(x)\n" * 100)
    assert len(result["findings"]) == MOST_FINDINGS
    assert result["note"] == "only the first 30 of 100 findings are shown"


def test_what_was_not_examined_is_told() -> None:
    result = scan_code("def f(:\n")
    assert result["complete"] is False
    assert "not valid Python" in result["errors"][0]
