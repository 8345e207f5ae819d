"""MCP servers' tools, with a real server on a pipe: allowed, pinned, untrusted."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import gettempdir

import pytest

from agent.admin.mcp import _pin
from agent.project.project import LiveProject, load_project
from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolContext
from tools.config import ToolsConfig
from tools.host import ToolHosts, ToolOutcome
from tools.mcp.hosts import McpHosts
from tools.mcp.pins import known_as, pinned_tools
from tools.mcp.programs import Programs
from tools.mcp.servers import read_servers

SERVER = Path(__file__).parent / "data" / "mcp_server.py"
PROGRAM = "server.py"
FOLDER = Path(gettempdir()) / "no-such-data"
TOOLS = "{add: pure, fail: pure, slow: keyed, die: unsafe, told: keyed}"
AGENT = "name: helper\ninstructions: Help.\ntools: [sums_add]\n"


def project(
    folder: Path, *arguments: str, tools: str = "{add: pure, fail: pure, slow: keyed, die: unsafe, told: keyed}"
) -> Path:
    (folder / "agents").mkdir(exist_ok=True)
    (folder / "agents" / "helper.yaml").write_text(AGENT)
    (folder / PROGRAM).write_text(SERVER.read_text())
    command = ", ".join(f'"{part}"' for part in (sys.executable, str(folder / PROGRAM), *arguments))
    (folder / "mcp.yaml").write_text(
        f"sums:\n  command: [{command}]\n  env: {{SECRET: '${{MCP_SECRET}}'}}\n  tools: {tools}\n  timeout_s: 3\n"
    )
    return folder


def programs(folder: Path) -> Programs:
    return Programs(folder, ToolsConfig())


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MCP_SECRET", "sesame")
    monkeypatch.setenv("KEY", "not for servers")
    await _pin(project(tmp_path), lambda line: None)
    return tmp_path


@pytest.fixture
async def hosts(folder: Path) -> AsyncIterator[McpHosts]:
    servers = read_servers(folder)
    own = ToolHosts(["tools.builtin"])
    made = McpHosts(own, servers, pinned_tools(folder, servers), programs(folder))
    yield made
    await made.close()


async def call(hosts: McpHosts, name: str, run_id: str = "r", **arguments: int) -> ToolOutcome:
    context = ToolContext(key=f"{run_id}:1:0", tenant_id="t", agent="a", session_id="s", run_id=run_id, data=FOLDER)
    return await hosts.call(name, arguments, context)


async def test_calls_and_what_becomes_of_them(hosts: McpHosts) -> None:
    outcome = await call(hosts, "sums_add", a=2, b=3)
    assert (outcome.error, outcome.content) == (None, {"result": 5})
    failed = await call(hosts, "sums_fail")
    assert (failed.ok, "too large" in str(failed.error)) == (False, True)
    told = json.loads((await call(hosts, "sums_told")).content)
    assert told["meta"]["flightloop/idempotency-key"] == "r:1:0"
    assert (told["SECRET"], told["KEY"]) == ("sesame", "")
    own = await call(hosts, "calculator", expression="2+3")
    assert not own.ok or own.content


async def test_a_server_that_ends_or_hangs_is_started_again(hosts: McpHosts) -> None:
    gone = await call(hosts, "sums_die")
    assert not gone.ok
    assert (await call(hosts, "sums_add", a=1, b=1)).ok
    late = await call(hosts, "sums_slow")
    assert late.timed_out
    assert (await call(hosts, "sums_add", a=1, b=1)).ok


async def test_a_stopped_run_stops_its_calls(hosts: McpHosts) -> None:
    calling = asyncio.create_task(call(hosts, "sums_slow", run_id="mine"))
    other = asyncio.create_task(call(hosts, "sums_slow", run_id="other"))
    while not (hosts._calls.get("mine") and hosts._calls.get("other")):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await hosts.kill("mine") == 1
    assert (await calling).killed
    assert not other.done()
    other.cancel()


async def test_tools_are_known_as_they_were_pinned(folder: Path) -> None:
    loaded = load_project(folder, ())
    spec = loaded.registry.get("sums_add")
    assert (spec.effect, spec.returns_untrusted, spec.description) == (Effect.PURE, True, "Adds two numbers.")
    assert loaded.registry.problems("sums_add", {"a": 1}) == ["b is missing: give a whole number"]
    assert LiveProject(folder, ()).current().tools_sha256 == loaded.tools_sha256


async def test_agents_know_a_tool_by_a_name_that_models_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SECRET", "")
    said: list[str] = []
    await _pin(project(tmp_path, tools="{get-sum: pure}"), said.append)
    assert said[0].startswith("sums get-sum, for agents sums_get_sum: new\n")
    servers = read_servers(tmp_path)
    hosts = McpHosts(ToolHosts(["tools.builtin"]), servers, pinned_tools(tmp_path, servers), programs(tmp_path))
    assert (await call(hosts, "sums_get_sum", a=2, b=3)).content == {"result": 5}
    await hosts.close()
    assert known_as("my-crm", "Kunde.größe") == "my_crm_Kunde_gr__e"
    with pytest.raises(
        ConfigError, match=r"mcp.yaml: sums: x+: its name for agents would be .* more than 64 characters"
    ):
        known_as("sums", "x" * 60)


async def test_a_tool_that_changed_is_not_called(folder: Path) -> None:
    project(folder, "changed")
    servers = read_servers(folder)
    hosts = McpHosts(ToolHosts(["tools.builtin"]), servers, pinned_tools(folder, servers), programs(folder))
    outcome = await call(hosts, "sums_add", a=2, b=3)
    assert "pinned again" in str(outcome.error)
    assert (await call(hosts, "sums_fail")).error != outcome.error
    await hosts.close()
    said: list[str] = []
    await _pin(folder, said.append)
    assert any("CHANGED" in line and "evil" in line for line in said)


async def test_what_is_wrong_is_said(folder: Path) -> None:
    project(folder, tools="{add: pure, new: pure}")
    with pytest.raises(ConfigError, match="mcp pin"):
        load_project(folder, ())
    with pytest.raises(ConfigError, match="has no tool new; it has: add, die"):
        await _pin(folder, lambda line: None)
    (folder / "mcp.yaml").write_text("sums: {url: 'http://127.0.0.1:1/mcp', tools: {add: pure}}")
    with pytest.raises(ConfigError, match="can't be reached"):
        await _pin(folder, lambda line: None)
    for text, problem in (
        ("sums: {tools: {add: pure}}", "either command or url"),
        ("sums: {command: [x], tools: {add: sometimes}}", "sums.tools.add"),
        ("sums: {command: [x]}", "sums.tools"),
        ("[1]", "must be a mapping"),
        ("'a b': {command: [x], tools: {add: pure}}", "name must have"),
    ):
        (folder / "mcp.yaml").write_text(text)
        with pytest.raises(ConfigError, match=problem):
            read_servers(folder)
