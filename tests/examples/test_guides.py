"""The projects that the pages build step by step load, hold against attacks, and do what the pages say."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from agent.admin import evals
from agent.admin.policies import test_policy as check_policy
from agent.admin.redteam import Wish, redteam
from agent.config import load_settings
from agent.project.project import load_project
from flightloop import ToolContext, ToolRefused
from flightloop.cli.project import write_project

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = r"```\w+\n(.*?)```"


def imported(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def called_with(key: str, data: Path) -> ToolContext:
    return ToolContext(key, "default", "library", "session", "run", data)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The project of docs/getting-started.md: what ``flightloop new`` writes, with the replacements of the page."""
    write_project(tmp_path / "library")
    page = (DOCS / "getting-started.md").read_text()
    written = re.findall(rf"(Add|Replace) `(library/[\w./]+)`.*?{BLOCK}", page, re.DOTALL)
    assert [name for _, name, _ in written] == [
        "library/project.yaml", "library/seed.py", "library/tools.py", "library/agents/library.yaml",
        "library/policies/library.yaml", "library/tasks/first.jsonl",
    ]  # fmt: skip
    for doing, name, content in written:
        assert (tmp_path / name).is_file() is (doing == "Replace"), "the command writes what is replaced"
        (tmp_path / name).write_text(content)
    return tmp_path / "library"


async def test_the_library_desk_is_checked_and_attacked(library: Path, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", project=library)
    assert await check_policy(settings, library / "policies/library.yaml", None, lambda line: None)
    assert evals.check(settings, evals.Wish(show=evals.Show.NONE))
    printed = io.StringIO()
    assert await redteam(settings, Wish(rounds=1), Console(file=printed, width=120)), printed.getvalue()
    assert "renew_loan" in printed.getvalue()


ROWS = [{"member": "17", "title": "Solaris"}, {"member": "18", "title": "Dune"}]
LISTED = {"stage": "tool_result", "tool": "list_loans", "effect": "pure", "text": json.dumps(ROWS)}
LIST = {"stage": "tool_call", "tool": "list_loans", "effect": "pure"}
RENEW = {
    "stage": "tool_call", "tool": "renew_loan", "effect": "transactional", "arguments": {"title": "Solaris"},
    "user_text": "Please renew Solaris.",
}  # fmt: skip
MEMBER = {"subject": "17"}


async def test_the_small_policy_for_subjects_binds_rows_and_counts(library: Path, tmp_path: Path) -> None:
    """The policy that docs/guardrails.md begins its section about subjects with."""
    found = re.search(r"```yaml\n# policies/library.yaml\n(.*?)```", (DOCS / "guardrails.md").read_text(), re.DOTALL)
    assert found is not None
    policy, cases = library / "policies/library.yaml", tmp_path / "cases.jsonl"
    expected = [
        (LISTED | MEMBER, "redact"),
        (LISTED, "redact"),
        (LIST, "allow"),
        (RENEW | MEMBER, "allow"),
        (RENEW | MEMBER | {"used": {"0": 5}}, "ask"),
        (RENEW, "block"),
    ]
    cases.write_text("".join(json.dumps(one | {"agent": "library", "expect": end}) + "\n" for one, end in expected))
    settings, told = load_settings(home=tmp_path / "home", project=library), list[str]()
    policy.write_text(found[1])
    assert await check_policy(settings, policy, cases, told.append), told
    policy.write_text(found[1][: found[1].index("subject:")] + found[1][found[1].index("limits:") :])
    assert not await check_policy(settings, policy, cases, told.append)
    unbound = [line.split(":")[1] for line in told if "got allow" in line]
    assert unbound == ["1", "2", "6"], "without the section, nothing is bound"


def test_a_loan_of_the_library_desk_is_renewed_once_a_key(library: Path, tmp_path: Path) -> None:
    imported(library / "seed.py", "library_seed").seed(tmp_path)
    tools = imported(library / "tools.py", "library_tools")
    assert {"title": "Solaris", "due": "2027-01-10"} in tools.list_loans(called_with("r:1:0", tmp_path))
    for _ in range(2):
        assert tools.renew_loan(called_with("r:2:0", tmp_path), "Solaris")["due"] == "2027-02-07"
    with pytest.raises(ToolRefused, match="renewed twice already"):
        tools.renew_loan(called_with("r:3:0", tmp_path), "Dune")


def test_the_library_with_data_of_its_own_is_seeded_and_lends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``project.yaml``, ``seed.py`` and a document of docs/agents.md, with the tools of docs/tools.md."""
    agents, tools = ((DOCS / f"{name}.md").read_text() for name in ("agents", "tools"))
    folder, data = tmp_path / "desk", tmp_path / "data"
    for place in (folder / "agents", folder / "policies", folder / "documents", data):
        place.mkdir(parents=True)
    for name in ("project.yaml", "seed.py", "documents/loans.md"):
        found = re.search(rf"```\w+\n(?:# |<!-- ){re.escape(name)}.*?\n(.*?)```", agents, re.DOTALL)
        assert found is not None, name
        (folder / name).write_text(found[1])
    transactional = next(block for block in re.findall(BLOCK, tools, re.DOTALL) if "write_once(context" in block)
    (folder / "tools.py").write_text(transactional)
    (folder / "agents/desk.yaml").write_text("instructions: Lend books.\ntools: [lend, copies, search_knowledge]\n")
    (folder / "policies/default.yaml").write_text(
        json.dumps({"name": "default", "version": "1", "tools": {"allow": {"desk": ["*"]}}})
    )
    registry = load_project(folder, ()).registry
    assert "lend" in registry
    assert "copies" in registry
    imported(folder / "seed.py", "desk_seed").seed(data)
    desk = imported(folder / "tools.py", "desk_tools")
    for _ in range(2):
        assert desk.lend(called_with("r:1:0", data), 1, "Ada") == {"book": 1, "reader": "Ada"}
    assert desk.copies(called_with("r:2:0", data), 1) == 2, "the second call had the key of the first"
    unit_test = next(block for block in re.findall(BLOCK, tools, re.DOTALL) if "from library.tools import" in block)
    monkeypatch.setitem(sys.modules, "library.tools", desk)
    monkeypatch.chdir(tmp_path)
    exec(compile(unit_test, "docs/tools.md", "exec"), {})
    assert desk.copies(called_with("r:3:0", data), 1) == 1
