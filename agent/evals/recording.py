"""Tool hosts that replay recorded results instead of calling tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent.evals.task import RecordedCall
from agent.loop.run_dependencies import Toolbox
from flightloop.runs import Approval
from flightloop.tool import Effect, ToolContext
from tools.host import ToolOutcome


class Recording:
    """Implements ``agent.loop.run_dependencies.Hosts``. Equal calls get their recorded results in order, each once;
    after that, calls of tools that only read get the last one again.

    Args:
        registry: tools of the current project.
    """

    def __init__(self, registry: Toolbox, calls: Sequence[RecordedCall]) -> None:
        self.registry = registry
        self._calls = [call for call in calls if call.denied is None]
        self._denied = [call for call in calls if call.denied is not None]
        self._left = list(self._calls)
        self.off_the_record = 0
        """Number of calls without a recorded result."""

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        found = self._result(name, arguments)
        if found is None:
            self.off_the_record += 1
            return ToolOutcome(False, error=f"{name} was not performed: a call with these arguments is not on record")
        return ToolOutcome(found.ok, found.content, found.error, found.note)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return None

    async def kill(self, run_id: str) -> int:
        return 0

    def operator(self, approval: Approval) -> str | None:
        """Returns the reason for denying a call that was denied in the recording; None approves the call."""
        denied = (call for call in self._denied if _same(call, approval.tool, approval.arguments))
        return next((call.denied for call in denied), None)

    def _result(self, name: str, arguments: dict[str, Any]) -> RecordedCall | None:
        for call in self._left:
            if _same(call, name, arguments):
                self._left.remove(call)
                return call
        if self.registry.get(name).effect is not Effect.PURE:
            return None
        return next((call for call in reversed(self._calls) if _same(call, name, arguments)), None)


def _same(call: RecordedCall, name: str, arguments: dict[str, Any]) -> bool:
    return call.tool == name and call.arguments == arguments
