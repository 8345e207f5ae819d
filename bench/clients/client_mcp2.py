"""Version 2 of the MCP client: both forms of the protocol, over standard input and output and over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from bench.clients.checks import KEY, Seen, told
from bench.clients.mcp_checks import check_all
from bench.clients.mcp_serving import COMMAND, http_server, settings


async def connected(client: Client) -> Seen:
    found = client.server_info
    return (client.protocol_version, found), found is not None and found.name == "flightloop"


async def stranger(url: str) -> Seen:
    async with httpx2.AsyncClient(headers={"authorization": "Bearer nobody's key"}) as http:
        try:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                return await client.list_tools(), False
        except BaseException as error:  # an ExceptionGroup of the transport's task group
            found = f"{error!r} {getattr(error, 'exceptions', '')}"
            return found, "401" in found or "key" in found


async def main() -> None:
    stdio: Any = StdioServerParameters(command=COMMAND[0], args=list(COMMAND[1:]), env=settings())
    for mode in ("auto", "legacy"):
        async with Client(stdio, mode=mode) as client:
            await told(f"stdio_{mode}_connected", connected(client))
            await check_all(f"stdio_{mode}", client)
    with http_server() as url:
        for mode in ("auto", "legacy"):
            http = httpx2.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=120)
            async with http, Client(streamable_http_client(url, http_client=http), mode=mode) as client:
                await told(f"http_{mode}_connected", connected(client))
                await check_all(f"http_{mode}", client)
        await told("http_wrong_key", stranger(url))


if __name__ == "__main__":
    asyncio.run(main())
