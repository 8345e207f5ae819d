"""``python -m agent mcp …``: pins tools of MCP servers, and serves flightloop as an MCP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from difflib import unified_diff
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.admin.logs import configured
from agent.admin.options import Project
from agent.admin.output import tell
from agent.config import MCP_PORT, load_settings
from agent.serve.signals import stop_on_signals
from flightloop import settings as client_settings
from flightloop.errors import ConfigError
from tools.config import ToolsConfig

if TYPE_CHECKING:
    from tools.mcp.pins import Pin

MOST_COMPARED = 2000
"""Lines of a tool that are compared with its earlier pin; a longer one is shown whole."""
mcp = typer.Typer(no_args_is_help=True, help="Use MCP servers, or serve flightloop as one.")


@mcp.command("pin")
def mcp_pin(project: Project = None) -> None:
    """Ask each server in mcp.yaml for its tools, show changes, and write mcp.lock.json."""
    from agent.project.project import EMBEDDED
    from agent.serve.factories import tools_config

    settings = load_settings(project=project)
    asyncio.run(_pin(settings.project or EMBEDDED, tell, tools_config(settings)))


@mcp.command("serve")
def mcp_serve(
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP; requests carry their own keys.")] = False,
    host: Annotated[
        str, typer.Option(envvar="FLIGHTLOOP_MCP_HOST", help="Address to listen on, with --http.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="FLIGHTLOOP_MCP_PORT", help="Port, with --http; 0: a free one.")
    ] = MCP_PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(envvar="FLIGHTLOOP_MCP_HOSTS", help="Another HOST or HOST:PORT that clients use for the server."),
    ] = None,
) -> None:
    """Serve agents, runs and results as an MCP server, on standard input and output or over HTTP."""
    from agent.mcp_server.server import FlightloopServer

    settings = configured()
    if http:
        asyncio.run(_serve_http(host, port, allow_host or [], settings.max_body_bytes))
    else:
        FlightloopServer().run("stdio")


async def _serve_http(host: str, port: int, more: Sequence[str], max_body_bytes: int) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError if the address is in use or invalid."""
    from agent.mcp_server.http import PATH, allowed_hosts, application, under_key
    from agent.mcp_server.server import FlightloopServer
    from agent.serve.http_server import bind, running

    url = client_settings.address()
    stop = stop_on_signals()
    listener = bind(host, port, "FLIGHTLOOP_MCP")
    try:
        hosts = allowed_hosts(host, listener.getsockname()[1], more)
        served = application(FlightloopServer(partial(under_key, url)), url, hosts, max_body_bytes)
        async with served as app, running(app, listener) as own:
            tell(f"MCP at {own}{PATH}, for the API at {url}. Ctrl-C stops it.")
            await stop.wait()
    finally:
        listener.close()


async def _pin(folder: Path, tell: Callable[[str], None], config: ToolsConfig | None = None) -> None:
    """Pins the servers' tools. Raises ConfigError if there are no servers, one is unavailable, or a tool is missing."""
    from tools.mcp.pins import known_as, read_pins, write_pins
    from tools.mcp.programs import Programs
    from tools.mcp.servers import FILE, read_servers
    from tools.mcp.session import ServerGone, Session

    servers = read_servers(folder)
    if not servers:
        raise ConfigError(f"{folder / FILE} names no server, so there is nothing to pin; see docs/mcp.md")
    programs = Programs(folder, config or ToolsConfig())
    before = read_pins(folder)
    pins: dict[str, Mapping[str, Pin]] = {}
    for name, server in servers.items():
        session = Session(name, server, programs)
        try:
            offered = await session.tools()
        except ServerGone as error:
            raise ConfigError(str(error)) from error
        finally:
            await session.close()
        missing = sorted(set(server.tools) - set(offered))
        if missing:
            raise ConfigError(f"{name} has no tool {missing[0]}; it has: {', '.join(sorted(offered)) or 'none'}")
        pins[name] = {tool: offered[tool] for tool in server.tools}
        for tool, pin in pins[name].items():
            known = before.get(name, {}).get(tool)
            state = "new" if known is None else "unchanged" if known == pin else "CHANGED"
            told = [f"{name} {tool}, for agents {known_as(name, tool)}: {state}", *_shown(pin, known)]
            tell("\n    ".join(told))
        others = sorted(set(offered) - set(server.tools))
        if others:
            tell(" ".join(f"{name}: unused: {', '.join(others)}".split()))
    tell(str(write_pins(folder, pins)))


def _shown(pin: Pin, known: Pin | None) -> list[str]:
    """What a model would read of a tool, line by line: all of a new one, and what has changed of another."""
    if known == pin:
        return pin.description.splitlines()
    lines = _lines(pin)
    if known is None or max(len(lines), len(_lines(known))) > MOST_COMPARED:
        return lines
    return list(islice(unified_diff(_lines(known), lines, lineterm="", n=1), 2, None))


def _lines(pin: Pin) -> list[str]:
    """The description and the schema of the arguments, whose names, descriptions and examples a model reads, too."""
    schema = json.dumps(pin.parameters, indent=2, sort_keys=True, ensure_ascii=False)
    return [*pin.description.splitlines(), *schema.splitlines()]
