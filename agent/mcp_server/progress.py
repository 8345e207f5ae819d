"""What a run does, as an MCP client is told while it waits: progress notifications and log messages.

The texts are the platform's own, with names and figures. What users, models and tools wrote stays in the run's events.
"""

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

from flightloop.events import (
    ApprovalDecided,
    ApprovalRequested,
    CallsDecided,
    Judged,
    Planned,
    RunEnded,
    RunEvent,
    RunStarted,
    ToolResult,
)
from flightloop.runs import RunStatus
from flightloop.shown import shown
from flightloop.verdicts import Action

LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
"""By severity, the least severe first."""
UNASKED: LoggingLevel = "info"
"""Sent to a client of a handshake version that has set no level."""
LONGEST = 300
_LEVEL = "flightloop.log_level"


def _connection_state(ctx: ServerRequestContext[Any, Any]) -> dict[str, Any]:
    # The SDK (2.3) keeps a connection's scratch state, and offers no way to it from a request.
    state: dict[str, Any] = ctx.session._connection.state
    return state


async def set_level(ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
    """``logging/setLevel``, of the protocol's handshake versions: holds for the connection."""
    _connection_state(ctx)[_LEVEL] = params.level
    return EmptyResult()


class Progress:
    """Tells one MCP request's client of events, in the order of their calls."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._told = 0

    async def tell(self, event: RunEvent) -> None:
        told = described(event)
        if told is None:
            return
        level, text = told
        self._told += 1
        await self._context.report_progress(self._told, message=text)
        if level in self._levels():
            data = {"run_id": event.run_id, "seq": event.seq, "event": event.type, "message": text}
            params = LoggingMessageNotificationParams(level=level, logger="flightloop.run", data=data)
            # Not `Context.log`: the SDK warns of each use, since later versions of the protocol have no log messages.
            notification = LoggingMessageNotification(params=params)
            await self._context.session.send_notification(notification, self._context.request_id)

    def _levels(self) -> frozenset[LoggingLevel]:
        request = self._context.request_context
        if request.protocol_version in MODERN_PROTOCOL_VERSIONS:  # the request itself says what it wants
            return allowed_log_levels(request.protocol_version, request.meta)
        least = _connection_state(request).get(_LEVEL, UNASKED)
        return frozenset(LEVELS[LEVELS.index(least) :])


def described(event: RunEvent) -> tuple[LoggingLevel, str] | None:
    """How severe an event is and one line about it; None for what is of no use to somebody who waits."""
    match event:
        case CallsDecided() | Planned() | RunStarted():
            level, text = _decided(event)
        case ToolResult(ok=True):
            level, text = "info", f"{event.tool} has returned after {event.seconds:.1f} s"
        case ToolResult():
            level, text = "warning", f"{event.tool} has failed after {event.seconds:.1f} s"
        case Judged() if event.verdict.action is Action.BLOCK:
            level, text = "warning", f"the rail {event.verdict.rail} blocks at the stage {event.verdict.stage}"
        case ApprovalRequested():
            level, text = "notice", f"a call of {event.tool} waits for the approval {event.approval_id}"
        case ApprovalDecided():
            level, text = "notice", f"the approval {event.approval_id} is decided: {event.decision}"
        case RunEnded():
            level = "info" if event.status is RunStatus.SUCCEEDED else "error"
            text = f"the run has ended: {event.status} ({event.stop_reason})"
        case _:
            return None
    return level, shown(" ".join(text.split()))[:LONGEST]


def _decided(event: CallsDecided | Planned | RunStarted) -> tuple[LoggingLevel, str]:
    match event:
        case RunStarted():
            return "debug", "a worker has taken the run"
        case Planned():
            return "info", f"plans to call {', '.join(event.tools) or 'nothing'}"
        case CallsDecided(problem=None):
            return "info", f"step {event.step}: calls {', '.join(call.function.name for call in event.calls)}"
        case _:
            return "warning", f"step {event.step}: the model's answer cannot be used"
