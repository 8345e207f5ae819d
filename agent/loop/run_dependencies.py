"""Dependencies of a run apart from the journal, and the protocols of tools and hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from agent.loop.evidence_source import NO_EVIDENCE, EvidenceSource
from agent.models.chat_model import ChatModel
from agent.project.agent_spec import AgentSpec
from agent.project.subagent import Subagent
from agent.run.budgets import Prices, TenantBudgets
from agent.run.deltas import Deltas
from flightloop.chat import ToolDef
from flightloop.tool import Tool, ToolContext, ToolSpec
from guardrails.types import Guarding
from observability.tracing import Tracing
from tools.host import ToolOutcome


class Toolbox(Protocol):
    """Registry of tools as the loop uses it; implemented by ``tools.registry.Registry``."""

    def __contains__(self, name: str) -> bool: ...
    def get(self, name: str) -> ToolSpec: ...
    def definitions(self, names: Sequence[str]) -> list[ToolDef]: ...
    def is_expensive(self, name: str, characters: int) -> bool: ...
    def problems(self, name: str, arguments: dict[str, Any], seconds: float = ...) -> list[str]: ...
    def canonical(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]: ...
    def identity(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]: ...
    def beside(self, others: Iterable[Tool]) -> Toolbox: ...


class Hosts(Protocol):
    """Tool hosts as the loop uses them; implemented by ``tools.host.ToolHosts``."""

    @property
    def registry(self) -> Toolbox: ...

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome: ...
    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None: ...
    async def kill(self, run_id: str) -> int: ...


@dataclass(frozen=True)
class RunDependencies:
    """Everything that a run needs apart from the journal."""

    agent: AgentSpec
    guard: Guarding
    model: ChatModel
    model_name: str
    hosts: Hosts
    deltas: Deltas
    prices: Prices
    data: Path
    """Folder of the tools' data."""
    clock: Callable[[], datetime]
    tracing: Tracing
    lookup: EvidenceSource = NO_EVIDENCE
    epoch: int = 0
    """Interrupt epoch when the run was claimed; see ``guardrails.interrupt``."""
    tenants: TenantBudgets = field(default_factory=TenantBudgets)
    subagents: Mapping[str, Subagent] = field(default_factory=dict)
    """Agents to which this agent can delegate, by name."""
    call_confidence: float | None = None
    """The operator's own level for calls, which no check lowers; None: the model's."""

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of everything that the agent can call."""
        return (*self.agent.tools, *(agent.tool for agent in self.subagents.values()))
