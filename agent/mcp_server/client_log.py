"""Sends log messages to an MCP client, at the level that it requested."""

from __future__ import annotations

from typing import Any, get_args

from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.types import (
    EmptyResult,
    LoggingLevel,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    SetLevelRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
"""Levels, least severe first."""
UNASKED: LoggingLevel = "info"
"""Default level for clients of protocol versions with a handshake, which set the level with ``logging/setLevel``."""
_LEVEL = "flightloop.log_level"


async def set_level(ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    """Handles ``logging/setLevel`` of protocol versions with a handshake; the level applies to the connection."""
    _connection_state(ctx)[_LEVEL] = params.level
    return EmptyResult()


async def log(context: Context[Any, Any], level: LoggingLevel, logger: str, data: Any) -> None:
    """Sends a log message with the response to the request, if the client requested messages of its level.

    ``Context.log`` ignores the level that a client has set, and warns at each use, because in later protocol versions
    each request states the level.
    """
    if level in _wanted(context.request_context):
        params = LoggingMessageNotificationParams(level=level, logger=logger, data=data)
        await context.session.send_notification(LoggingMessageNotification(params=params), context.request_id)


def _wanted(ctx: ServerRequestContext[Any, Any]) -> frozenset[LoggingLevel]:
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:  # the request states the level
        return allowed_log_levels(ctx.protocol_version, ctx.meta)
    return frozenset(LEVELS[LEVELS.index(_connection_state(ctx).get(_LEVEL, UNASKED)) :])


def _connection_state(ctx: ServerRequestContext[Any, Any]) -> dict[str, Any]:
    # The SDK (2.3) has per-connection state, but no public access to it from a request.
    state: dict[str, Any] = ctx.session._connection.state
    return state
