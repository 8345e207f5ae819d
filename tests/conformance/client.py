"""``python -m tests.conformance.client URL``: what the MCP conformance suite runs as a client.

It reaches the server as a worker reaches one of ``mcp.yaml``: it lists the tools, and calls those that it knows.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tools.mcp.programs import Programs
from tools.mcp.servers import Server
from tools.mcp.session import Session

CALLS = {"add_numbers": {"a": 2, "b": 3}, "test_reconnection": {}}


async def main(url: str) -> None:
    server = Server.model_validate({"url": url, "tools": dict.fromkeys(CALLS, "pure")})
    session = Session("suite", server, Programs(Path()))
    try:
        for tool in await session.tools():
            if tool in CALLS:
                print(tool, (await session.call(tool, CALLS[tool], "run_1:1:0")).texts)
    finally:
        await session.end()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
