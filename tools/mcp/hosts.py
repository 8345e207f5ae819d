"""Runs tools of MCP servers and a project's own tools, with the interface of `tools.host.ToolHosts`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from flightloop.tool import ToolContext
from tools.host import ToolHosts, ToolOutcome
from tools.mcp.answers import CallResult, first_line
from tools.mcp.pins import McpTool
from tools.mcp.programs import Programs
from tools.mcp.servers import Server
from tools.mcp.session import MCPError, Refused, ServerGone, Session
from tools.serving import MESSAGE_CHARACTERS, as_json

log = logging.getLogger(__name__)
MOST_BYTES = 64 * 1024
"""Longer results are cut, with a note."""


class McpHosts:
    """Runs tools of MCP servers besides a project's own.

    Args:
        own: hosts of the project's own tools, started and closed together with these.
        servers: MCP servers by name.
        tools: tools of the servers.
        programs: starts servers that are programs.
    """

    def __init__(
        self, own: ToolHosts, servers: Mapping[str, Server], tools: Sequence[McpTool], programs: Programs
    ) -> None:
        self._own = own
        self._servers = servers
        self._programs = programs
        self._tools = {tool.spec.name: tool for tool in tools}
        self._sessions: dict[tuple[str, str], Session] = {}
        self._calls: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self.registry = own.registry.beside(tool.as_tool() for tool in tools)

    async def __aenter__(self) -> McpHosts:
        """Starts the project's hosts; servers start on first use."""
        await self._own.__aenter__()
        return self

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Like `ToolHosts.call`. If a call takes too long, its server is ended and restarts with the next call."""
        tool = self._tools.get(name)
        if tool is None:
            return await self._own.call(name, arguments, context)
        calling = asyncio.create_task(self._call(tool, arguments, context))
        calls = self._calls[context.run_id]
        calls.add(calling)
        started = time.monotonic()
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            goes_on = "" if self._servers[tool.server].url is None else f"; {tool.server} may continue it"
            error = f"the call was stopped{goes_on}"
            seconds = time.monotonic() - started
            return ToolOutcome(False, error=error, seconds=seconds, killed=True, uncertain=True)
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            calls.discard(calling)
            if not calls:
                self._calls.pop(context.run_id, None)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        """Like `ToolHosts.known_by`. For a server's tools, only the schema identifies a call."""
        return None if name in self._tools else await self._own.known_by(name, arguments, context)

    async def kill(self, run_id: str) -> int:
        """Ends a run's calls and the programs that serve them, which may also serve other runs of the tenant."""
        calls = list(self._calls.get(run_id, ()))
        for call in calls:
            call.cancel()
        own = asyncio.ensure_future(self._own.kill(run_id))
        await asyncio.gather(*calls, return_exceptions=True)
        return len(calls) + await own

    async def close(self) -> None:
        for call in [call for calls in self._calls.values() for call in calls]:
            call.cancel()
        await asyncio.gather(*(session.end() for session in self._sessions.values()))
        await self._own.close()

    def _session(self, server: str, tenant: str) -> Session:
        """The tenant's session with a server. Tenants don't share one, since a server's process may keep state."""
        if (server, tenant) not in self._sessions:
            self._sessions[server, tenant] = Session(server, self._servers[server], self._programs)
        return self._sessions[server, tenant]

    async def _call(self, tool: McpTool, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        session = self._session(tool.server, context.tenant_id)
        started, begun = time.monotonic(), False
        try:
            if tool.name in await self._changes(tool.server, session):
                message = f"{tool.server} has changed its tool {tool.name}: it can't be called until it is pinned again"
                return ToolOutcome(False, error=message)
            started, begun = time.monotonic(), True
            async with asyncio.timeout(tool.spec.timeout_s):
                result = await session.call(tool.name, arguments, context.key)
        except asyncio.CancelledError:
            if session.is_program:
                await session.kill()
            raise
        except TimeoutError:
            await session.kill()
            message = f"{tool.spec.name} took longer than {tool.spec.timeout_s:g} s and was stopped"
            seconds = time.monotonic() - started
            return ToolOutcome(False, error=message, seconds=seconds, timed_out=True, uncertain=begun)
        except (Refused, ServerGone, MCPError) as error:
            message, seconds = str(error)[:MESSAGE_CHARACTERS], time.monotonic() - started
            uncertain = begun and not isinstance(error, Refused)
            return ToolOutcome(False, error=message, seconds=seconds, uncertain=uncertain)
        except (ValueError, RuntimeError) as error:  # raised by the SDK for invalid answers
            log.warning("MCP server %s: %s", tool.server, first_line(error))
            message = f"{tool.server} returned an invalid tool result"
            return ToolOutcome(False, error=message, seconds=time.monotonic() - started, uncertain=begun)
        return _outcome(result, time.monotonic() - started)

    async def _changes(self, server: str, session: Session) -> frozenset[str]:
        """Names of the tools whose current description by the server differs from their pin."""
        offered = await session.tools()
        return frozenset(
            tool.name for tool in self._tools.values() if tool.server == server and offered.get(tool.name) != tool.pin
        )


def _outcome(result: CallResult, seconds: float) -> ToolOutcome:
    texts = result.texts
    others = len(result.content) - len(texts)
    given: Any = result.structured_content if result.structured_content is not None else "\n".join(texts)
    content, note = as_json(given, MOST_BYTES)
    if result.is_error:
        error = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        return ToolOutcome(False, error=error[:MESSAGE_CHARACTERS], seconds=seconds)
    if others and note is None:
        note = f"{others} parts that are not text were left out"
    return ToolOutcome(True, content, note=note, seconds=seconds)
