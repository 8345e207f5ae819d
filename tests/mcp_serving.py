"""The MCP server over HTTP before an API, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from agent.api import ApiDeps, create_app
from agent.api.auth import Keyring
from agent.mcp_server.http import PATH, allowed_hosts, application, under_key
from agent.mcp_server.server import FlightloopServer
from agent.models.answer_chunks import Turn
from agent.serve.http_server import bind, running
from agent.testing.api import KEY, OTHER_KEY, api_deps
from flightloop.tool import Tool
from tests.agent.conftest import Bench
from tests.security.benches import bench

LEGACY, MODERN = "legacy", "2026-07-28"
"""How a client connects: with a handshake and a session, or with requests that are whole by themselves."""

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
"""The message that opens a session."""


@asynccontextmanager
async def serving(deps: ApiDeps, **options: Any) -> AsyncIterator[str]:
    """Yields the MCP server's address; it and the API have a socket each."""
    listener = bind("127.0.0.1", 0)
    hosts = allowed_hosts("127.0.0.1", listener.getsockname()[1])
    async with running(create_app(deps)) as url:
        server = FlightloopServer(partial(under_key, url))
        served = application(server, url, hosts, deps.max_body_bytes, watch_s=0.05, **options)
        async with served as app, running(app, listener) as own:
            yield f"{own}{PATH}"


@asynccontextmanager
async def connected(url: str, key: str = KEY, **options: Any) -> AsyncIterator[Client]:
    async with (
        create_mcp_http_client(headers={"authorization": f"Bearer {key}"}) as http,
        Client(streamable_http_client(url, http_client=http), **options) as client,
    ):
        yield client


def desk_of(folder: Path, *script: Turn, tools: list[Tool], policy: str) -> tuple[Bench, ApiDeps]:
    """An agent ``support`` over a scripted model, and the deps of an API over its journal."""
    desk = bench(folder, *script, tools=tools, policy=policy, name="support")
    keyring = Keyring({KEY: "default", OTHER_KEY: "other"}, desk.journal.keys)
    return desk, api_deps(journal=desk.journal, keys=desk.journal.keys, keyring=keyring)


@asynccontextmanager
async def working(desk: Bench) -> AsyncIterator[None]:
    """A worker of the desk's runs."""
    worker = desk.worker()
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.drain()
        await task
