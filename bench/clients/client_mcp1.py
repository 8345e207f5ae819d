"""Version 1 of the MCP client, over standard input and output and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from bench.clients.checks import KEY, Seen, told
from bench.clients.mcp_checks import check_all
from bench.clients.mcp_serving import COMMAND, http_server, settings


@asynccontextmanager
async def over_stdio() -> AsyncIterator[ClientSession]:
    server = StdioServerParameters(command=COMMAND[0], args=list(COMMAND[1:]), env=settings())
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        yield session


@asynccontextmanager
async def over_http(url: str, key: str = KEY) -> AsyncIterator[ClientSession]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=120) as client:
        connect: Any = streamable_http_client  # version 2 has another client for HTTP
        async with connect(url, http_client=client) as (read, write, _), ClientSession(read, write) as session:
            yield session


async def initialized(session: ClientSession) -> Seen:
    found: Any = await session.initialize()  # version 2 has names in snake case
    ok = found.serverInfo.name == "flightloop" and found.capabilities.tools is not None
    return (found.protocolVersion, found.serverInfo), ok


async def stranger(url: str) -> Seen:
    try:
        async with over_http(url, "nobody's key") as session:
            return await session.initialize(), False
    except BaseException as error:  # an ExceptionGroup of the transport's task group
        found = str(getattr(error, "exceptions", [error]))
        return found, "401" in found


async def main() -> None:
    async with over_stdio() as session:
        await told("stdio_initialize", initialized(session))
        await check_all("stdio", session)
    with http_server() as url:
        async with over_http(url) as session:
            await told("http_initialize", initialized(session))
            await check_all("http", session)
        await told("http_wrong_key", stranger(url))


if __name__ == "__main__":
    asyncio.run(main())
