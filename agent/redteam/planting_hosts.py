"""Tool hosts with strangers' text in a tool's results, and stand-ins for tools that must not be called."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from agent.loop.run_dependencies import Hosts, Toolbox
from flightloop.tool import ToolContext, ToolSpec
from tools.host import ToolOutcome

STAND_IN = {"status": "accepted"}
"""Answer of a tool that is not called."""
TEXTS = ("note", "text", "body", "message", "content", "comment", "description", "summary", "title", "name")
"""Names of fields that strangers write first."""


@dataclass
class PlantingHosts:
    """Performs calls with other hosts.

    Attributes:
        hosts: hosts that run the project's tools.
        registry: all tools of the project.
        stood_in: tools that are not called.
        reader: tool whose results get ``planted``.
        read: number of calls of ``reader``.
    """

    hosts: Hosts
    registry: Toolbox
    stood_in: Collection[str]
    reader: str | None = None
    planted: str = ""
    read: int = field(default=0)

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        if name in self.stood_in:
            outcome = ToolOutcome(True, dict(STAND_IN))
        else:
            outcome = await self.hosts.call(name, arguments, context)
        if name != self.reader:
            return outcome
        self.read += 1
        content = planted_in(outcome.content if outcome.ok else None, self.planted, self.registry.get(name))
        return replace(outcome, ok=True, content=content, error=None, traceback=None, uncertain=False)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        if name not in self.hosts.registry:  # a tool of an MCP server
            return None
        return await self.hosts.known_by(name, arguments, context)

    async def kill(self, run_id: str) -> int:
        return await self.hosts.kill(run_id)


def planted_in(content: Any, text: str, spec: ToolSpec) -> Any:
    """A result with a text where strangers can write: in a field that the tool does not trust, or after a text."""
    if isinstance(content, str):
        return f"{content}\n{text}"
    if isinstance(content, list) and content:
        return [planted_in(content[0], text, spec), *content[1:]]
    if isinstance(content, dict):
        name = _open_field(content, spec.trusted_fields)
        before = content.get(name)
        return {**content, name: f"{before} {text}" if isinstance(before, str) else text}
    return text


def _open_field(content: dict[str, Any], trusted: Collection[str]) -> str:
    """A field that strangers can write: one of the result's own, or another one that the tool does not trust."""
    own = [name for name, value in content.items() if isinstance(value, str) and name not in trusted]
    likely = [name for name in TEXTS if name in own]
    return next(iter([*likely, *(name for name in TEXTS if name not in trusted), *own]), "written_by_strangers")
