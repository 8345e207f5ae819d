"""MCP servers that are programs run in the sandbox, and get nothing of the platform's."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flightloop.errors import ConfigError
from flightloop.tool import Effect, ToolSpec
from tests.security.conftest import KEY, Deployment
from tools.config import ToolsConfig
from tools.host import ToolHosts
from tools.mcp.hosts import McpHosts
from tools.mcp.lines import MOST_LINES, Flow, TooMuch
from tools.mcp.pins import McpTool, Pin
from tools.mcp.programs import Programs
from tools.mcp.servers import Server, read_servers
from tools.mcp.session import MCPError, ServerGone, Session

SERVER = '''
import os, socket
from pathlib import Path
from mcp.server.mcpserver import MCPServer

server = MCPServer("spy")


def tried(what):
    try:
        return str(what())
    except OSError as error:
        return type(error).__name__


@server.tool()
def read(path: str) -> str:
    """Reads a file."""
    return tried(Path(path).read_text)


@server.tool()
def connect(port: int) -> str:
    """Connects."""
    return tried(lambda: socket.create_connection(("127.0.0.1", port), 3).recv(5).decode())


@server.tool()
def process() -> list[str]:
    """Its process."""
    return [os.environ["HOME"], str(sorted(os.environ))]


server.run("stdio")
'''


async def spying(deployment: Deployment, folder: Path, **declared: object) -> McpHosts:
    (folder / "spy.py").write_text(SERVER)
    tools = dict.fromkeys(("read", "connect", "process"), "pure")
    server = Server.model_validate({"command": [sys.executable, str(folder / "spy.py")], "tools": tools, **declared})
    config = ToolsConfig(spare=0, protected=(deployment.home,))
    programs = Programs(folder, config)
    session = Session("spy", server, programs)
    offered = await session.tools()
    await session.close()
    known = [McpTool(_spec(name), "spy", name, offered[name]) for name in tools]
    hosts = McpHosts(ToolHosts(["tools.builtin"], config), {"spy": server}, known, programs)
    deployment.ran.push_async_callback(hosts.close)
    return hosts


def _spec(name: str) -> ToolSpec:
    return ToolSpec(name, name, {"type": "object"}, Effect.PURE)


async def test_a_server_sees_neither_the_home_nor_the_platform(deployment: Deployment, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:
        port = api.getsockname()[1]
        hosts = await spying(deployment, tmp_path)
        for path in (deployment.key, deployment.home / "flightloop.db", Path("/proc/self/environ")):
            seen = await hosts.call("read", {"path": str(path)}, deployment.context())
            assert seen.ok, seen.error
            assert KEY not in str(seen.content)
        refused = await hosts.call("connect", {"port": port}, deployment.context())
        assert "PermissionError" in str(refused.content)


async def test_a_server_connects_where_it_says(deployment: Deployment, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        hosts = await spying(deployment, tmp_path, hosts=[f"127.0.0.1:{port}"])
        refused = await hosts.call("connect", {"port": 1}, deployment.context())
        assert "PermissionError" in str(refused.content)
        reached = await hosts.call("connect", {"port": port}, deployment.context())
        assert "TimeoutError" in str(reached.content)  # connected; it says nothing


async def test_each_tenant_has_a_server_of_its_own(deployment: Deployment, tmp_path: Path) -> None:
    hosts = await spying(deployment, tmp_path)
    seen = {}
    for tenant in ("one", "two", "one"):
        told = (await hosts.call("process", {}, deployment.context(tenant))).content["result"]
        assert seen.setdefault(tenant, told[0]) == told[0]
        assert "FLIGHTLOOP" not in told[1]
    assert seen["one"] != seen["two"]


@pytest.mark.parametrize(
    "name",
    [
        "FLIGHTLOOP_API_KEY",
        "FLIGHTLOOP_TENANT_KEYS",
        "RAY_AUTH_TOKEN",
        "flightloop_api_key",
        "Flightloop_Api_Key",
        "PGPASSWORD",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
def test_a_server_gets_no_variable_of_the_platform(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KEY)
    (tmp_path / "mcp.yaml").write_text(
        f"spy:\n  command: [cat]\n  env: {{K: '${{{name}}}'}}\n  tools: {{read: pure}}\n"
    )
    server = read_servers(tmp_path)["spy"]
    with pytest.raises(ConfigError, match="is the platform's; an MCP server never gets it"):
        server.filled(server.env)


def test_a_project_does_not_choose_among_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server.model_validate({"url": "http://x", "headers": {"a": "${GITHUB_TOKEN}"}, "tools": {"read": "pure"}})
    monkeypatch.setenv("GITHUB_TOKEN", KEY)
    for granted in ("", "OTHER", "GITHUB_TOKENS, github_token"):
        monkeypatch.setenv("FLIGHTLOOP_MCP_VARIABLES", granted)
        with pytest.raises(ConfigError, match="FLIGHTLOOP_MCP_VARIABLES=GITHUB_TOKEN"):
            server.filled(server.headers)
    monkeypatch.setenv("FLIGHTLOOP_MCP_VARIABLES", "OTHER, GITHUB_TOKEN")
    assert server.filled(server.headers) == {"a": KEY}


async def test_what_a_server_asks_for_is_checked(tmp_path: Path) -> None:
    for asked, problem in (("hosts: ['a:b']", "spy.hosts"), ("folders: [cache]", "must be an absolute path")):
        (tmp_path / "mcp.yaml").write_text(f"spy:\n  command: [cat]\n  {asked}\n  tools: {{read: pure}}\n")
        with pytest.raises(ConfigError, match=problem):
            read_servers(tmp_path)
    missing = Server.model_validate({"command": ["no-such-program"], "tools": {"read": "pure"}})
    with pytest.raises(ConfigError, match="program no-such-program not found"):
        await Programs(tmp_path).started_as(missing).__aenter__()
    wide = Server.model_validate({"command": ["cat"], "folders": ["/"], "tools": {"read": "pure"}})
    with pytest.raises(ConfigError, match="use a narrower folder"):
        await Programs(tmp_path).started_as(wide).__aenter__()


LOADED = """
import os
open({trace!r}, "a").write(" ".join(map(str, (os.getpid(), os.environ.get("MINE")))) + chr(10))
"""


async def test_a_servers_variables_reach_its_program_alone(deployment: Deployment, tmp_path: Path) -> None:
    """PYTHONPATH and the like run code in whatever process has them: not in those that make the sandbox."""
    own = tmp_path / "own"
    own.mkdir()
    trace = tmp_path / "trace"
    for name in ("sitecustomize", "usercustomize"):
        (own / f"{name}.py").write_text(LOADED.format(trace=str(trace)))
    env = {
        "PYTHONPATH": os.pathsep.join([str(own), *sys.path]), "LD_PRELOAD": str(own / "none.so"), "PATH": str(own),
        "PYTHONSTARTUP": str(own / "sitecustomize.py"), "MINE": "its own",
    }  # fmt: skip
    hosts = await spying(deployment, tmp_path, env=env)
    told = (await hosts.call("process", {}, deployment.context())).content["result"]
    assert all(name in told[1] for name in ("MINE", "LD_PRELOAD"))
    assert not trace.exists()


@pytest.mark.parametrize("folder", [sys.prefix, str(Path(__file__).parents[2] / "tools"), "PROJECT", "~/.config"])
async def test_a_server_writes_no_code(tmp_path: Path, folder: str) -> None:
    folder = folder.replace("PROJECT", str(tmp_path)).replace("~", os.environ["HOME"], 1)
    server = Server.model_validate({"command": ["cat"], "folders": [folder], "tools": {"read": "pure"}})
    with pytest.raises(ConfigError, match="use a narrower folder"):
        await Programs(tmp_path).started_as(server).__aenter__()


RUNAWAY = """
import json, sys

def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()

TOOL = {"name": "read", "description": "Reads.", "inputSchema": {"type": "object"}, **OUTPUT}
page = 0
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        about = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}}
        say({"id": asked["id"], "result": {**about, "serverInfo": {"name": "runaway", "version": "1"}}})
    elif asked.get("method") == "tools/list":
        page += 1
        told = {"tools": [TOOL]}
        if "PAGES" == "endless":
            told["nextCursor"] = str(page)
        elif "PAGES" == "never":
            continue
        elif "PAGES" == "wrong":
            told = {"tools": [1] * 300_000}
        say({"id": asked["id"], "result": told})
    elif asked.get("method") == "tools/call":
        if "SAYS" == "requests":
            for number in range(300):
                say({"id": f"{number}-{'x' * 1000}", "method": "ping"})
                say({"id": f"{number}", "method": "roots/list"})
                say({"method": "notifications/message", "params": {"level": "info", "data": "x" * 1000}})
        if "SAYS" == "answers":
            while True:
                say({"id": 777, "result": {"content": [], "structuredContent": {"value": [1] * 20_000}}})
        if "SAYS" == "parts":
            say({"id": asked["id"], "result": {"content": [1] * 300_000}})
            continue
        if "SAYS" == "endless line":
            while True:
                sys.stdout.write("x" * 65536)
        say({"id": asked["id"], "result": {"content": [], "structuredContent": {"value": VALUE}}})
    elif "id" in asked:
        say({"id": asked["id"], "error": {"code": -32601, "message": "unknown"}})
"""


def runaway(
    deployment: Deployment, folder: Path, pages: str = "one", says: str = "", value: str = "1", output: str = "{}"
) -> McpHosts:
    """The hosts of a server that says what it likes."""
    code = RUNAWAY.replace("PAGES", pages).replace("VALUE", value).replace("SAYS", says).replace("OUTPUT", output)
    (folder / "runaway.py").write_text(code)
    server = Server.model_validate(
        {"command": [sys.executable, str(folder / "runaway.py")], "tools": {"read": "pure"}, "timeout_s": 5}
    )
    config = ToolsConfig(spare=0, protected=(deployment.home,))
    tool = McpTool(_spec("read"), "runaway", "read", Pin("Reads.", {"type": "object"}))
    hosts = McpHosts(ToolHosts(["tools.builtin"], config), {"runaway": server}, [tool], Programs(folder, config))
    deployment.ran.push_async_callback(hosts.close)
    return hosts


@pytest.mark.parametrize("pages", ["endless", "never", "wrong"])
@pytest.mark.any_user
async def test_a_list_of_tools_has_an_end(deployment: Deployment, tmp_path: Path, pages: str) -> None:
    async with asyncio.timeout(40):
        outcome = await runaway(deployment, tmp_path, pages=pages).call("read", {}, deployment.context())
    assert not outcome.ok
    assert "tool" in str(outcome.error)
    assert len(str(outcome.error)) < 500


@pytest.mark.parametrize("says", ["endless line", "requests", "answers", "parts"])
@pytest.mark.any_user
async def test_a_server_does_not_fill_the_workers_memory(deployment: Deployment, tmp_path: Path, says: str) -> None:
    hosts = runaway(deployment, tmp_path, says=says)
    before = psutil.Process().memory_info().rss
    async with asyncio.timeout(60):
        outcome = await hosts.call("read", {}, deployment.context())
    assert outcome.ok == (says in ("requests", "parts")), outcome
    assert psutil.Process().memory_info().rss - before < 200 * 1024**2


@pytest.mark.parametrize("schema", [{"pattern": "^(a|a)*$"}, {"type": "integer"}, {"$ref": "#/nowhere"}])
@pytest.mark.any_user
async def test_a_result_is_not_checked_against_a_schema_of_the_servers(
    deployment: Deployment, tmp_path: Path, schema: dict[str, str]
) -> None:
    """Which it may change whenever it likes, and which takes as long as it likes."""
    output = repr({"outputSchema": {"type": "object", "properties": {"value": schema}}})
    hosts = runaway(deployment, tmp_path, value="'a' * 60 + 'b'", output=output)
    outcome = await hosts.call("read", {}, deployment.context())
    assert outcome.content == {"value": "a" * 60 + "b"}, outcome.error


def test_lines_are_counted_however_they_end() -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        flow = Flow()
        flow.count(b"data: {}" + end * MOST_LINES)
        with pytest.raises(TooMuch):
            flow.count(end)


@pytest.mark.any_user
async def test_what_is_no_json_is_text(deployment: Deployment, tmp_path: Path) -> None:
    outcome = await runaway(deployment, tmp_path, value="float('nan')").call("read", {}, deployment.context())
    assert json.dumps(outcome.content, allow_nan=False)
    long = await runaway(deployment, tmp_path, value="'x' * 1_000_000").call("read", {}, deployment.context())
    assert len(str(long.content)) == 65536
    assert "cut" in str(long.note)


WEB = """
import sys
from mcp.server.mcpserver import MCPServer

server = MCPServer("web")

@server.tool()
def add(a: int, b: int) -> int:
    'Adds.'
    return a + b

server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
"""
BOMB = """
import gzip, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

BODY = gzip.compress(bytes(500 << 20), 9)
HEADERS = {"content-type": "application/json", "content-encoding": "gzip", "content-length": str(len(BODY))}

class Bomb(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        for header in HEADERS.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(BODY)

    do_GET = do_POST

HTTPServer(("127.0.0.1", int(sys.argv[1])), Bomb).serve_forever()
"""


@contextmanager
def listening(code: str) -> Iterator[int]:
    """A program that listens on the port of its argument."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = subprocess.Popen([sys.executable, "-c", code, str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.05)
        yield port
    finally:
        program.kill()
        program.wait()


def by_url(port: int, folder: Path) -> Session:
    server = Server.model_validate({"url": f"http://127.0.0.1:{port}/mcp", "tools": {"add": "pure"}, "timeout_s": 20})
    return Session("web", server, Programs(folder))


async def test_a_server_is_reached_by_its_url(tmp_path: Path) -> None:
    with listening(WEB) as port:
        session = by_url(port, tmp_path)
        assert set(await session.tools()) == {"add"}
        assert (await session.call("add", {"a": 2, "b": 3}, "key")).structured_content == {"result": 5}
        await session.end()
        with pytest.raises(ServerGone, match="was closed"):
            await session.tools()


async def test_a_compressed_answer_is_not_unpacked(tmp_path: Path) -> None:
    with listening(BOMB) as port:
        before = psutil.Process().memory_info().rss
        session = by_url(port, tmp_path)
        with pytest.raises((ServerGone, MCPError)):
            await session.tools()
        await session.end()
        assert psutil.Process().memory_info().rss - before < 200 * 1024**2
