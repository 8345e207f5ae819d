"""MCP server with tools to start and follow runs, runs as resources, and a prompt per agent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mcp import MCPError
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError, UnexpectedToolError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    Resource,
    SetLevelRequestParams,
)
from pydantic import AnyUrl, ValidationError

from agent.mcp_server import prompts, resources, tools
from agent.mcp_server.access import ApiAccess, ClientOf
from agent.mcp_server.client_log import set_level
from flightloop import AsyncFlightloop
from flightloop.errors import FlightloopError, NotFound, invalid_request
from flightloop.version import VERSION

INSTRUCTIONS = (
    "Agents that work on their own, each with its own tools and under its own policy. Start a run, then ask for its"
    " result until the run has ended."
)


class FlightloopServer(MCPServer[Any]):
    """MCP server that reports errors of the API, with their messages, as errors of the protocol or of the called tool.

    Args:
        client_of: creates the API client for a message.
    """

    def __init__(self, client_of: ClientOf = lambda _: AsyncFlightloop()) -> None:
        super().__init__(
            "flightloop",
            instructions=INSTRUCTIONS,
            version=VERSION,
            log_level="WARNING",
            middleware=[ApiAccess(client_of)],
            subscriptions=False,  # nothing is published: run_result reports progress
        )
        # MCPServer (2.3) does not support logging/setLevel itself.
        self._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
        tools.install(self)
        resources.install(self)

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Like MCPServer, but raises ToolError with the API's message, which the SDK would hide from callers."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(error, UnexpectedToolError) and isinstance(cause, FlightloopError):
                raise ToolError(cause.message) from cause
            if isinstance(cause, ValidationError):
                raise ToolError(invalid_request(cause.errors()).message) from None
            raise

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Like MCPServer, but raises ResourceError with the API's message."""
        try:
            return await super().read_resource(uri, context)
        except ResourceError as error:
            cause = error.__cause__
            if isinstance(cause, NotFound):
                raise ResourceNotFoundError(cause.message) from cause
            if isinstance(cause, FlightloopError):
                raise ResourceError(cause.message) from cause
            raise

    async def list_resources(self) -> list[Resource]:
        try:
            return await resources.listed()
        except FlightloopError as error:
            raise _protocol_error(error) from error

    async def list_prompts(self) -> list[Prompt]:
        try:
            return await prompts.listed()
        except FlightloopError as error:
            raise _protocol_error(error) from error

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        try:
            return await prompts.get(name, arguments or {})
        except FlightloopError as error:
            raise _protocol_error(error) from error


def _protocol_error(error: FlightloopError) -> MCPError:
    code = INVALID_PARAMS if 400 <= error.status < 500 else INTERNAL_ERROR
    return MCPError(code=code, message=error.message, data={"code": error.code})
