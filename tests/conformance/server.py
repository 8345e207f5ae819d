"""``python -m tests.conformance.server PORT``: what the MCP conformance suite runs its server scenarios against.

It is flightloop's MCP server over HTTP, before an API with a journal in memory. What the suite prescribes stands beside
its own tools. The suite sends no key, so each request is given one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api import create_app
from agent.mcp_server.http import PATH, allowed_hosts, application, under_key
from agent.serve.http_server import bind, running
from agent.serve.signals import stop_on_signals
from agent.testing.api import KEY, api_deps
from tests.conformance.prescribed import PrescribedServer


class WithKey:
    """ASGI middleware: the key that a request does not bring."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            MutableHeaders(scope=scope).setdefault("authorization", f"Bearer {KEY}")
        await self._app(scope, receive, send)


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[str]:
    """Yields its address."""
    deps = api_deps()
    listener = bind("127.0.0.1", port)
    hosts = allowed_hosts("127.0.0.1", listener.getsockname()[1])
    async with running(create_app(deps)) as url:
        served = application(PrescribedServer(partial(under_key, url)), url, hosts, deps.max_body_bytes)
        async with served as app, running(WithKey(app), listener) as own:
            yield f"{own}{PATH}"


async def main(port: int) -> None:
    stop = stop_on_signals()
    async with serving(port) as url:
        print(url, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
