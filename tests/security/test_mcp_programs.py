"""What the program of an MCP server is shown of its installation, and that it ends with a call that is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flightloop.tool import Effect, ToolSpec
from tests.security.conftest import KEY, WAYS, Deployment
from tests.security.platforms import until
from tools.config import ToolsConfig
from tools.host import ToolHosts
from tools.mcp.hosts import McpHosts
from tools.mcp.pins import McpTool, Pin
from tools.mcp.programs import Programs
from tools.mcp.servers import Server

PREFIX = """
import json, sys
from pathlib import Path

def tried(path):
    try:
        return Path(path).read_text()
    except OSError as error:
        return type(error).__name__

print(json.dumps({path: tried(path) for path in sys.argv[1:]}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mechanisms", WAYS)
async def test_a_programs_prefix_is_shown_as_far_as_it_is_installed(
    deployment: Deployment, tmp_path: Path, mechanisms: tuple[str, ...]
) -> None:
    """What ``mcp.yaml`` names is a starter script in somebody's folder with ``bin``."""
    prefix, project = tmp_path / "app", tmp_path / "project"
    hidden = [
        ".env", "notes.txt", "one/.flightloop/key", "lib/.flightloop/key", "lib/state/key", "lib/state/flightloop.db",
        "share/.env.local",
    ]  # fmt: skip
    for name in (*hidden, "lib/module.py", "share/text", "bin/run"):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(KEY if name in hidden else "open")
    (prefix / "bin" / "run").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PREFIX}' \"$@\"\n")
    (prefix / "bin" / "run").chmod(0o755)
    project.mkdir()
    (project / "run").symlink_to(prefix / "bin" / "run")
    paths = [str(prefix / name) for name in (*hidden, "lib/module.py", "share/text")]
    server = Server.model_validate({"command": [str(project / "run"), *paths], "tools": {"read": "pure"}})
    config = ToolsConfig(protected=(deployment.home,), mechanisms=mechanisms)
    async with Programs(project, config).started_as(server) as started:
        program = await asyncio.create_subprocess_exec(
            *(started.command, *started.args),
            env=started.env,
            cwd=started.cwd,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdout is not None
        said = await program.stdout.readline()
        await program.communicate(b"")  # whose end it waits for
    seen = json.loads(said)
    assert [seen[path] for path in paths[-2:]] == ["open", "open"]
    assert set(map(seen.get, paths[:-2])) <= {"FileNotFoundError", "PermissionError"}


BEATS = """
import subprocess, sys, time
from pathlib import Path
from mcp.server.mcpserver import MCPServer

server = MCPServer("beats")
CODE = "import sys, time; from pathlib import Path\\nwhile True: Path(sys.argv[1]).touch(); time.sleep(0.01)"

@server.tool()
def beat(name: str) -> str:
    'Beats for ever, and so does a process that it starts, in a session of its own.'
    subprocess.Popen([sys.executable, "-c", CODE, f"FOLDER/{name}-child"], start_new_session=True)
    while True:
        Path(f"FOLDER/{name}").touch()
        time.sleep(0.01)

server.run("stdio")
"""


BEAT = {
    "type": "object",
    "properties": {"name": {"title": "Name", "type": "string"}},
    "required": ["name"],
    "title": "beatArguments",
}


def beating(deployment: Deployment, tmp_path: Path) -> tuple[McpHosts, Path]:
    """The hosts of a server whose tool never ends, and the folder where it leaves its traces."""
    project, beats = tmp_path / "project", tmp_path / "beats"
    project.mkdir()
    beats.mkdir()
    beats.chmod(0o777)
    (project / "beats.py").write_text(BEATS.replace("FOLDER", str(beats)))
    command = [sys.executable, str(project / "beats.py")]
    server = Server.model_validate({"command": command, "tools": {"beat": "pure"}, "folders": [str(beats)]})
    config = ToolsConfig(spare=0, protected=(deployment.home,))
    pin = Pin("Beats for ever, and so does a process that it starts, in a session of its own.", BEAT)
    tool = McpTool(ToolSpec("beat", "beat", BEAT, Effect.PURE), "beats", "beat", pin)
    own, programs = ToolHosts(["tools.builtin"], config), Programs(project, config)
    return McpHosts(own, {"beats": server}, [tool], programs), beats


def processes_with(argument: Path) -> list[list[str]]:
    """The command lines of this process's descendants that name a path or something below it."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(str(argument) in one for one in process.cmdline()):
                found.append(process.cmdline())
    return found


@pytest.mark.parametrize("way", ["killed", "cancelled", "closed"])
async def test_a_server_does_not_outlive_a_call_that_is_stopped(
    deployment: Deployment, tmp_path: Path, way: str
) -> None:
    hosts, beats = beating(deployment, tmp_path)
    deployment.ran.push_async_callback(hosts.close)
    one, other = (
        asyncio.create_task(hosts.call("beat", {"name": run}, deployment.context(run, run_id=run)))
        for run in ("one", "other")
    )
    await until(lambda: len(os.listdir(beats)) == 4)  # each server and a process of its own
    if way == "killed":
        assert await hosts.kill("one") == 1
    elif way == "cancelled":
        one.cancel()
    else:
        await hosts.close()
    await asyncio.wait({one})
    if way == "killed":
        assert (one.result().killed, one.result().error) == (True, "the call was stopped")
    if way != "closed":
        assert not other.done()
        assert processes_with(beats), "another tenant's server goes on"
        assert await hosts.kill("other") == 1
    await asyncio.wait({other})
    assert processes_with(tmp_path) == []
