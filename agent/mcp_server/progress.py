"""Progress of a run for a waiting MCP client: progress notifications and log messages.

The texts are the platform's own, with names and figures. Text of users, models and tools stays in the run's events.
"""

from __future__ import annotations

import re
from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import LoggingLevel

from agent.mcp_server.client_log import log
from flightloop.events import (
    ApprovalDecided,
    ApprovalGiven,
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

LOGGER = "flightloop.run"
LONGEST = 300
"""Maximum characters of a message."""
UNKNOWN = "an unknown tool"
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)


class Progress:
    """Reports a run's events to the client of one request."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._told = 0

    async def tell(self, event: RunEvent) -> None:
        text = described(event)
        if text is None:
            return
        message = shown(" ".join(text.split()))[:LONGEST]
        self._told += 1
        await self._context.report_progress(self._told, message=message)
        data = {"run_id": event.run_id, "seq": event.seq, "event": event.type, "message": message}
        await log(self._context, severity(event), LOGGER, data)


def described(event: RunEvent) -> str | None:
    """One line about an event; None if the event is irrelevant to a waiting client."""
    match event:
        case RunStarted():
            return "a worker has taken the run"
        case Planned():
            return f"plans to call {', '.join(map(_named, event.tools)) or 'nothing'}"
        case CallsDecided(problem=None):
            return f"step {event.step}: calls {', '.join(_named(call.function.name) for call in event.calls)}"
        case CallsDecided():
            return f"step {event.step}: the model's answer cannot be used"
        case ToolResult():
            tool = _named(event.tool) if event.known else UNKNOWN
            return f"{tool} has {'returned' if event.ok else 'failed'} after {event.seconds:.1f} s"
        case Judged() if event.verdict.action is Action.BLOCK:
            return f"the rail {event.verdict.rail} blocks at the stage {event.verdict.stage}"
        case ApprovalRequested() | ApprovalGiven() | ApprovalDecided():
            return _approval(event)
        case RunEnded():
            return f"the run has ended: {event.status} ({event.stop_reason})"
        case _:
            return None


def _named(tool: str) -> str:
    """A tool's name as it stands in plans and calls. A model may write anything in its place."""
    return tool if _NAME.fullmatch(tool) else UNKNOWN


def _approval(event: ApprovalRequested | ApprovalGiven | ApprovalDecided) -> str:
    match event:
        case ApprovalRequested():
            return f"a call of {event.tool} waits for the approval {event.approval_id}"
        case ApprovalGiven():
            return f"{event.given} of {event.needed} persons have given the approval {event.approval_id}"
        case ApprovalDecided():
            return f"the approval {event.approval_id} is decided: {event.decision}"


def severity(event: RunEvent) -> LoggingLevel:
    match event:
        case RunStarted():
            return "debug"
        case ApprovalRequested() | ApprovalGiven() | ApprovalDecided():
            return "notice"
        case ToolResult(ok=False) | Judged() | CallsDecided(problem=str()):
            return "warning"
        case RunEnded() if event.status is not RunStatus.SUCCEEDED:
            return "error"
        case _:
            return "info"
