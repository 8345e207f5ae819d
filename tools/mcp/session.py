"""Connection to an MCP server: opened on first use, and reopened after a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

from mcp import Client, MCPError
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    ListToolsRequest,
    PaginatedRequestParams,
    RequestParamsMeta,
)

from tools.ending import THREADS, end_started
from tools.mcp.answers import A, CallResult, OfferedTools, ask, begun, first_line
from tools.mcp.incoming import FIRST_ID, filtered
from tools.mcp.pins import Pin
from tools.mcp.programs import Programs
from tools.mcp.servers import Server
from tools.mcp.wire import Wire

log = logging.getLogger(__name__)
START_S = 60.0
END_S, CLOSE_S = 30.0, 2.0
"""Seconds for a program to exit, and for a remote server to close its session."""
MOST_PAGES = 100
HANDSHAKE = 0
"""Request id of the handshake."""
KEY = "flightloop/idempotency-key"
"""Key in a request's ``_meta`` for the call's idempotency key, for servers that use it."""


class ServerGone(Exception):
    """The server didn't start, didn't answer or has ended; the message says which."""


class Refused(Exception):
    """The server rejected a call before it began."""


class Session:
    """A connection, held open by its own task, since the SDK's client must be entered and left in the same task.

    Args:
        name: the server's name in messages.
        server: the server's command or URL.
        programs: starts the server if it is a program.
    """

    def __init__(self, name: str, server: Server, programs: Programs) -> None:
        self._name, self._server, self._programs = name, server, programs
        self._opening = asyncio.Lock()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._command: Sequence[str] = ()
        self._ended = False
        self._wire = Wire()
        self._ids = count(FIRST_ID)

    async def tools(self) -> dict[str, Pin]:
        """Lists the server's tools, by the server's names. Raises ServerGone, MCPError."""
        await self._connected()
        try:
            async with asyncio.timeout(self._server.timeout_s):
                return await self._listed()
        except TimeoutError:
            await self.kill()
            problem = f"did not list its tools within {self._server.timeout_s:g} s"
            raise ServerGone(f"the MCP server {self._name} {problem}") from None

    async def _listed(self) -> dict[str, Pin]:
        found: dict[str, Pin] = {}
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            request = ListToolsRequest(params=PaginatedRequestParams(cursor=cursor))
            page = await self._ask(request, OfferedTools)
            found |= {tool.name: Pin(tool.description or "", tool.input_schema) for tool in page.tools}
            cursor = page.next_cursor
            if not cursor:
                return found
        await self.close()
        raise ServerGone(f"the MCP server {self._name} lists its tools on more than {MOST_PAGES} pages")

    async def call(self, tool: str, arguments: dict[str, Any], key: str) -> CallResult:
        """Calls a tool. Unlike the SDK's ``call_tool``, doesn't check the result against the server's output schema,
        which may change at any time and be slow to check.

        Raises:
            Refused: the server did not begin the call.
            ServerGone, MCPError: no answer, or one that doesn't say whether the call began.
            ValueError: the answer isn't a tool's result.
        """
        meta = cast("RequestParamsMeta", {KEY: key})
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments, _meta=meta))
        return await self._ask(request, CallResult)

    async def end(self) -> None:
        """Closes the connection for good: pending and later requests raise ServerGone."""
        self._ended = True
        await self.close()

    async def close(self) -> None:
        """Closes the connection; the next request opens a new one. A program gets time to end by itself."""
        task, self._task, self._client = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=END_S if self.is_program else CLOSE_S)

    async def kill(self) -> None:
        """Closes the connection and kills a program's processes. The kill is submitted before the first await."""
        ending = THREADS.submit(end_started, self._command) if self.is_program else None
        await self.close()
        if ending is not None:
            await asyncio.shield(asyncio.wrap_future(ending))

    @property
    def is_program(self) -> bool:
        """Whether the server is a program, whose processes can be ended. A server behind a URL may continue a call that
        it has begun."""
        return self._server.url is None

    async def _ask(self, request: CallToolRequest | ListToolsRequest, answer: type[A]) -> A:
        client = await self._connected()
        request_id = next(self._ids)
        with self._wire.waiting(request_id):
            try:
                return await self._answered(client, request_id, request, answer)
            except MCPError as error:
                own = self.is_program or self._wire.refused(request_id)
                if own and isinstance(request, CallToolRequest) and not begun(error.error):
                    raise Refused(str(error)) from error
                raise

    async def _answered(
        self, client: Client, request_id: int, request: CallToolRequest | ListToolsRequest, answer: type[A]
    ) -> A:
        task = self._task
        assert task is not None
        asking = asyncio.ensure_future(ask(client, request_id, request, answer, self._server.timeout_s))
        try:
            await asyncio.wait({asking, task}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return await asking
            raise ServerGone(f"the MCP server {self._name} has ended")
        except (OSError, MCPError) as error:
            if isinstance(error, MCPError) and error.error.code != CONNECTION_CLOSED:
                raise
            await self.close()
            raise ServerGone(f"the MCP server {self._name} has ended") from error
        finally:
            asking.cancel()

    async def _connected(self) -> Client:
        async with self._opening:
            if self._ended:
                raise ServerGone(f"the session with the MCP server {self._name} was closed")
            if self._client is None or self._task is None or self._task.done():
                opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._hold(opened))
                try:
                    with self._wire.waiting(HANDSHAKE):
                        async with asyncio.timeout(START_S):
                            self._client = await opened
                except TimeoutError:
                    await self.kill()
                    raise ServerGone(f"the MCP server {self._name} did not start within {START_S:g} s") from None
            return self._client

    async def _hold(self, opened: asyncio.Future[Client]) -> None:
        try:
            async with self._connection() as client:
                opened.set_result(client)
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # anyio groups errors of a transport
            log.warning("MCP server %s: %s", self._name, first_line(error))
            if not opened.done():
                opened.set_exception(ServerGone(f"the MCP server {self._name} can't be reached: {first_line(error)}"))
        finally:
            if not opened.done():
                opened.cancel()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        timeout_s = self._server.timeout_s
        if self._server.url is None:
            async with self._programs.started_as(self._server) as parameters:
                self._command = (parameters.command, *parameters.args)
                async with Client(filtered(stdio_client(parameters)), read_timeout_seconds=timeout_s) as client:
                    yield client
            return
        headers = {**self._server.filled(self._server.headers), "accept-encoding": "identity"}
        async with create_mcp_http_client(headers=headers) as http:
            http.event_hooks = self._wire.hooks()
            transport = filtered(streamable_http_client(self._server.url, http_client=http))
            async with Client(transport, read_timeout_seconds=timeout_s) as client:
                yield client


__all__ = ["MCPError", "Refused", "ServerGone", "Session"]
