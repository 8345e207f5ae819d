"""Projects: what a folder becomes, what is said about mistakes, and reloading."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.loop.agent_runtime import AgentRuntimes
from agent.project.catalogue import ProjectCatalogue
from agent.project.project import EMBEDDED, MOST_DOCUMENTS, LiveProject, Project, load_project
from agent.reporting.readiness import Readiness, readiness
from agent.store import memory_journal
from flightloop.errors import ConfigError, NotFound
from flightloop.events import RunCreated
from flightloop.runs import Budget, ProjectInfo
from flightloop.tool import ToolContext
from guardrails.guard import Guard
from guardrails.policy import unhurried
from model.engine.compiler import check_tools
from tools.config import ToolsConfig
from tools.host import ToolHosts

AGENT = """\
name: clerk
instructions: Note what the user says.
tools: [note]
policy: clerk
"""
POLICY = """\
name: clerk
version: "1"
tools:
  allow: {clerk: [note]}
"""
TOOLS = '''\
from flightloop.tool import tool


@tool(effect="pure")
def note(text: str) -> str:
    """Notes a text."""
    return text
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"agents/clerk.yaml": AGENT, "policies/clerk.yaml": POLICY, "tools.py": TOOLS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def change(path: Path, content: str) -> None:
    """Writes a file with a time that differs from the last one whatever the file system's grain."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(content)
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


def test_what_is_called_unasked_may_only_read(folder: Path) -> None:
    (folder / "agents/clerk.yaml").write_text(AGENT + "before_refusing: note\n")
    assert load_project(folder, ()).agent("clerk").before_refusing == "note"
    (folder / "tools.py").write_text(TOOLS.replace("pure", "keyed"))
    with pytest.raises(ConfigError, match=r"clerk\.yaml:5: before_refusing: note changes something"):
        load_project(folder, ())


def test_a_tool_that_the_model_cannot_be_held_to_is_refused(folder: Path) -> None:
    union = TOOLS.replace("text: str", "text: Annotated[int, Field(json_schema_extra=NEVER)]")
    header = "from typing import Annotated\nfrom pydantic import Field\nNEVER = {'allOf': [{'type': 'string'}]}\n"
    load_project(folder, (), check_tools)
    change(folder / "tools.py", header + union)
    with pytest.raises(ConfigError, match=r"tool note: .*[Uu]nsatisfiable"):
        load_project(folder, (), check_tools)
    change(folder / "tools.py", header + union + TOOLS.replace("note", "noted").removeprefix(TOOLS.split("@")[0]))
    change(folder / "agents/clerk.yaml", AGENT.replace("[note]", "[noted]"))
    change(folder / "policies/clerk.yaml", POLICY.replace("[note]", "[noted]"))
    assert "note" in load_project(folder, (), check_tools).registry, "no agent lists it"


def test_tools_that_the_policy_bars_are_told(folder: Path) -> None:
    with capture_logs() as logs:
        load_project(folder, ())
        change(folder / "agents/boss.yaml", "instructions: Ask.\nagents: [clerk]\ntools: [note]\npolicy: clerk\n")
        load_project(folder, ())
    (told,) = logs
    assert (told["log_level"], told["agent"], told["tools"]) == ("warning", "boss", ["note", "ask_clerk"])
    assert "tools.allow.boss" in told["hint"]
    change(folder / "policies/clerk.yaml", POLICY.replace("clerk: [note]", "clerks: [note]"))
    (folder / "agents/boss.yaml").unlink()
    with capture_logs() as logs:
        load_project(folder, ())
    assert logs[0]["hint"] == "add them to tools.allow.clerk of the policy, which has tools.allow.clerks"


def test_the_embedded_project_is_complete() -> None:
    project = load_project(None, ())
    assert project.folder == EMBEDDED
    agent = project.agent("support")
    assert {"find_customer", "refund_order", "search_knowledge"} <= set(agent.tools)
    assert project.policy_of(agent).name == "support"
    assert set(agent.tools) == set(project.policy_of(agent).document.tools.allowed("support"))


def test_a_folder(folder: Path) -> None:
    project = load_project(folder, ())
    assert project.agent("clerk").tools == ("note",)
    assert "note" in project.registry
    assert "calculator" in project.registry
    with pytest.raises(NotFound, match="no agent is named 'clark'; known agents: clerk"):
        project.agent("clark")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("agents/clerk.yaml", AGENT.replace("note]", "nope]"), "agents/clerk.yaml:3: tools: no tool is named nope"),
        (
            "agents/clerk.yaml",
            AGENT.replace("policy: clerk", "policy: strict"),
            "agents/clerk.yaml:4: policy: no policy is named strict",
        ),
        ("agents/clerk.yaml", AGENT + "budget: {steps: 0}\n", "agents/clerk.yaml:5: budget.steps"),
        ("agents/clerk.yaml", AGENT + "colour: red\n", "agents/clerk.yaml:5: colour"),
        ("agents/clerk.yaml", "- a list", "must be a mapping with name, instructions, tools"),
        ("agents/clerk.yaml", AGENT + "a: [\n", "agents/clerk.yaml:6: not YAML: "),
        ("agents/clerk.yaml", "a: b: c", "agents/clerk.yaml:1: not YAML: mapping values are not allowed here"),
        ("agents/clerk.yaml", "a: 2026-13-45", "agents/clerk.yaml: not YAML: month must be in 1..12"),
        ("agents/clerk.yaml", "[" * 100_000, "agents/clerk.yaml:1: not YAML: more than 64 levels"),
        ("agents/clerk.yaml", AGENT + "escalation:\n- note\n- nope\n", "agents/clerk.yaml:7: escalation: no tool is"),
        ("agents/clerk.yaml", AGENT + "before_refusing: nope\n", "agents/clerk.yaml:5: before_refusing: add nope to"),
        ("agents/other.yaml", AGENT, "agents/other.yaml:1: name: another file"),
        ("policies/other.yaml", POLICY, "policies/other.yaml:1: name: another file"),
        ("policies/clerk.yaml", POLICY + "stages: {input: {rails: [nope]}}\n", "policies/clerk.yaml"),
        (
            "policies/clerk.yaml",
            POLICY + "  ask: [{effect: unsafe}, {tool: not}]\n",
            "policies/clerk.yaml:5: tools.ask.1.tool: no tool is named not; did you mean note? known: ask_clerk, ",
        ),
        (
            "policies/clerk.yaml",
            POLICY.replace("[note]", "[note, nope]"),
            "policies/clerk.yaml:4: tools.allow.clerk: no tool is named nope",
        ),
        ("policies/clerk.yaml", POLICY + "  arguments: {nope: {}}\n", "tools.arguments: no tool is named nope"),
        ("policies/clerk.yaml", POLICY + "  harmless: [nope]\n", "tools.harmless: no tool is named nope"),
        (
            "policies/clerk.yaml",
            POLICY + "stages: {tool_result: {rails: [{rail: pii, tools: [nope]}]}}\n",
            "stages.tool_result.rails.0.tools: no tool is named nope",
        ),
        ("tools.py", TOOLS + "\n\nraise ValueError('no')\n", "tools.py:10 can't be loaded: ValueError: no"),
        ("tools.py", TOOLS.replace("(text: str)", "(text)"), "tools.py:4 can't be loaded: TypeError: note: parameter"),
        ("tools.py", "def broken(:\n", "tools.py:1 can't be loaded: SyntaxError"),
        ("mcp.yaml", "a: [\n", "mcp.yaml:2: not YAML: "),
        ("tools.py", "raise SystemExit(1)", "tools.py"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(folder: Path, file: str, content: str, told: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(ConfigError) as error:
        load_project(folder, ())
    assert told in error.value.message


def test_a_policy_may_name_every_tool_that_the_project_has(folder: Path) -> None:
    names = ("note", "calculator", "ask_clerk")
    asks = ", ".join(f"{{tool: {name}}}" for name in names)
    (folder / "policies/clerk.yaml").write_text(POLICY.replace("[note]", "['*']") + f"  ask: [{asks}]\n")
    assert [rule.tool for rule in load_project(folder, ()).policies["clerk"].document.tools.ask] == list(names)


def test_the_default_policy_may_name_tools_of_those_who_ask_for_completions(folder: Path) -> None:
    policy = POLICY.replace("name: clerk", "name: default").replace("[note]", "['*']")
    (folder / "policies/default.yaml").write_text(policy + "  ask: [{tool: get_weather}]\n")
    with capture_logs() as logs:
        load_project(folder, ())
    (told,) = logs
    assert told["log_level"] == "warning"
    assert "default.yaml:5: tools.ask.0.tool: no tool is named get_weather" in told["told"]


def test_no_agents_or_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contains no agent"):
        load_project(tmp_path, ())
    with pytest.raises(ConfigError, match="no such folder"):
        load_project(tmp_path / "missing", ())


def test_a_change_is_picked_up_and_a_mistake_is_not(folder: Path) -> None:
    live = LiveProject(folder, ())
    first = live.current()
    assert live.current() is first
    change(folder / "agents" / "clerk.yaml", AGENT.replace("Note what", "Write down what"))
    second = live.current()
    assert second.agent("clerk").instructions.startswith("Write down")
    change(folder / "agents" / "clerk.yaml", "broken: [")
    assert live.current() is second
    change(folder / "agents" / "clerk.yaml", AGENT)
    change(folder / "agents" / "new.yaml", AGENT.replace("clerk", "new", 1).replace("policy: clerk", "policy: default"))
    assert set(live.current().agents) == {"clerk", "new"}


def test_changed_tools_are_loaded_anew(folder: Path) -> None:
    live = LiveProject(folder, ())
    before = live.current().tools_sha256
    change(folder / "tools.py", TOOLS.replace("Notes a text.", "Keeps a text."))
    assert live.current().registry.get("note").description == "Keeps a text."
    assert live.current().tools_sha256 != before


def test_a_module_beside_the_tools_is_loaded_anew_too(folder: Path) -> None:
    change(folder / "words.py", "WORDS = ' and keeps it'\n")
    change(
        folder / "tools.py",
        TOOLS.replace("@tool", "from .words import WORDS\n\n\n@tool").replace("text\n", "text + WORDS\n"),
    )
    live = LiveProject(folder, ())
    first = live.current()
    change(folder / "words.py", "raise ValueError\n")
    assert live.current() is first
    assert "tools.py:4 can't be loaded: ValueError" in (live.info().problem or "")
    change(folder / "words.py", "WORDS = ' and more'\n")
    assert live.current().tools_sha256 != first.tools_sha256
    assert live.info().problem is None


def test_the_catalogue_tells_the_project(folder: Path) -> None:
    catalogue = ProjectCatalogue(LiveProject(folder, ()), Guard, "a-model")
    (agent,) = catalogue.agents()
    assert (agent.name, agent.model, agent.tools, agent.policy) == ("clerk", "a-model", ["note"], "clerk")
    assert agent.policy_sha256 in {policy.sha256 for policy in catalogue.policies()}
    assert agent.budget.steps is not None
    assert "note" in {tool.name for tool in catalogue.tools()}
    assert catalogue.policies() == catalogue.policies()
    assert catalogue.guard() is catalogue.guard()
    assert catalogue.guard().policy.name == "default"


BREAKS = {
    "agents/clerk.yaml": ("broken: [", "agents/clerk.yaml:1: not YAML: "),
    "agents/deep.yaml": ("[" * 100_000, "agents/deep.yaml:1: not YAML: more than 64 levels"),
    "policies/clerk.yaml": (POLICY.replace("[note]", "[nope]"), "policies/clerk.yaml:4: tools.allow.clerk: no tool is"),
    "tools.py": ("import nothing_of_that_name", "tools.py:1 can't be loaded: ModuleNotFoundError: No module named"),
    "mcp.yaml": ("a: {command: 5}", "mcp.yaml: a.command: "),
}


@pytest.mark.parametrize("file", BREAKS)
def test_a_broken_project_serves_on_and_says_what_is_wrong(folder: Path, file: str) -> None:
    live = LiveProject(folder, ())
    good, before = live.current(), live.info()
    assert (before.problem, before.broken_since) == (None, None)
    kept = (folder / file).read_text() if (folder / file).exists() else None
    content, told = BREAKS[file]
    change(folder / file, content)
    with capture_logs() as logs:
        broken = live.info()
        assert live.info() == broken
    assert live.current() is good
    assert told in (broken.problem or "")
    assert str(folder) not in (broken.problem or "")
    assert (broken.loaded_at, broken.broken_since is not None) == (before.loaded_at, True)
    [line] = [log for log in logs if log["log_level"] == "error"]
    assert str(folder / file) in line["error"]
    change(folder / "agents" / "other.yaml", "also: [")
    assert live.info().broken_since == broken.broken_since
    (folder / "agents" / "other.yaml").unlink()
    if kept is None:
        (folder / file).unlink()
    else:
        change(folder / file, kept)
    assert live.info().problem is None
    assert live.info().loaded_at > before.loaded_at


async def test_tools_that_break_before_their_first_call_serve_on(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    live = LiveProject(folder, ())
    change(folder / "tools.py", "import nothing_of_that_name")
    created = RunCreated(agent="clerk", session_id="s", input="Hello", budget=Budget())
    run = (await memory_journal().create(created)).run
    kits = AgentRuntimes(
        live, lambda policy: Guard(unhurried(policy)), lambda project: ToolHosts(project.tools, ToolsConfig(spare=0))
    )
    context = ToolContext("k:0:0", "default", "clerk", "s", run.id, tmp_path_factory.mktemp("data"))
    try:
        async with kits.using(run) as kit:
            assert (await kit.hosts.call("note", {"text": "milk"}, context)).content == "milk"
            change(folder / "tools.py", TOOLS.replace("return text", "return text.upper()"))
            assert (await kit.hosts.call("note", {"text": "milk"}, context)).content == "milk"
        async with kits.using(run) as kit:
            assert (await kit.hosts.call("note", {"text": "milk"}, context)).content == "MILK"
    finally:
        await kits.close()


async def test_hosts_are_started_ahead_of_the_first_run(folder: Path, tmp_path: Path) -> None:
    made: list[ToolHosts] = []

    def hosts(project: Project) -> ToolHosts:
        made.append(ToolHosts(project.tools, ToolsConfig(spare=1), tmp_path))
        return made[-1]

    kits = AgentRuntimes(LiveProject(folder, ()), lambda policy: Guard(unhurried(policy)), hosts)
    created = RunCreated(agent="clerk", session_id="s", input="Hello", budget=Budget())
    try:
        await kits.prepare()
        assert len(made) == 1
        async with kits.using((await memory_journal().create(created)).run) as kit:
            assert [kit.hosts] == made
    finally:
        await kits.close()


def test_what_a_broken_project_says_steers_no_terminal_and_has_an_end(folder: Path) -> None:
    live = LiveProject(folder, ())
    change(folder / "tools.py", "raise ValueError('\\x1b]0;owned' + '\\u202e' + 'x' * 100_000)")
    problem = live.info().problem or ""
    assert "ValueError: \ufffd]0;owned\ufffdxx" in problem
    assert len(problem) <= 2000


async def test_readiness_tells_a_broken_project_and_waits_for_no_slow_one(folder: Path) -> None:
    live = LiveProject(folder, ())
    assert await readiness(memory_journal(), None, live.info) == Readiness()
    change(folder / "agents" / "clerk.yaml", "broken: [")
    found = await readiness(memory_journal(), None, live.info)
    assert (found.missing, (found.project or "").startswith("agents/clerk.yaml:1: not YAML")) == ([], True)
    gate = threading.Event()

    def slow() -> ProjectInfo:
        gate.wait()
        return live.info()

    found = await readiness(memory_journal(), None, slow, timeout_s=0.05)
    gate.set()
    assert found.project == "the project's files take longer than 0.05 s to load"


def test_files_that_cannot_be_listed_are_logged_once(folder: Path) -> None:
    live = LiveProject(folder, ())
    good = live.current()
    for number in range(MOST_DOCUMENTS + 1):
        (folder / "policies" / f"p{number}.yaml").touch()
    with capture_logs() as logs:
        assert [live.current() for _ in range(5)] == [good] * 5
    assert "more than 500 files" in (live.info().problem or "")
    assert [log["log_level"] for log in logs] == ["error"]
