"""Agent runtime: spec, guard and tool hosts of an agent's runs, reloaded when the project changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.loop.evidence_source import NO_EVIDENCE, EvidenceSource
from agent.loop.run_dependencies import Hosts, Toolbox
from agent.project.agent_spec import AgentSpec
from agent.project.guards import Guards
from agent.project.project import CurrentProject, Project
from agent.project.subagent import Subagent, as_tool
from flightloop.runs import Run
from flightloop.tool import Tool, ToolContext
from guardrails.policy import Policy
from guardrails.types import Guarding
from tools.host import ToolOutcome


class OwnedHosts(Hosts, Protocol):
    """Tool hosts that the caller starts and closes."""

    async def __aenter__(self) -> Hosts: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class AgentRuntime:
    """Agent, guard, tool hosts and sub-agents with which a run is executed."""

    agent: AgentSpec
    guard: Guarding
    hosts: Hosts
    lookup: EvidenceSource = NO_EVIDENCE
    """Source of facts for checking answers."""
    subagents: Mapping[str, Subagent] = field(default_factory=dict)
    """Agents to which the agent can delegate, by name."""


def runtime_of(
    project: Project,
    run: Run,
    hosts: Hosts,
    guards: Guards,
    lookup: EvidenceSource = NO_EVIDENCE,
    *,
    recorded: bool = False,
) -> AgentRuntime:
    """Runtime of a run in a project.

    Args:
        hosts: hosts of the project's tools.
        lookup: source of evidence for guards.
        recorded: whether the hosts replay recorded answers of sub-agents, so that no sub-agent runs.

    Raises:
        NotFound: the project has no such agent or policy.
    """
    spec = project.agent(run.agent)
    asked = [project.agent(name) for name in spec.agents]
    subagents = {agent.name: Subagent(agent, project.policy_of(agent).sha256) for agent in asked}
    if asked:
        hosts = WithAgents(hosts, [as_tool(agent, recorded=recorded) for agent in asked])
    return AgentRuntime(spec, guards.of_run(project, run), hosts, lookup.of(spec), subagents)


class WithAgents:
    """Hosts whose registry also has sub-agents as tools. Implements ``agent.loop.run_dependencies.Hosts``."""

    def __init__(self, hosts: Hosts, agents: Iterable[Tool]) -> None:
        self._hosts = hosts
        self.registry: Toolbox = hosts.registry.beside(agents)

    async def call(self, name: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        return await self._hosts.call(name, arguments, context)

    async def known_by(self, name: str, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any] | None:
        return await self._hosts.known_by(name, arguments, context)

    async def kill(self, run_id: str) -> int:
        return await self._hosts.kill(run_id)


@dataclass(eq=False)
class _HostsInUse:
    """One version of the project's tools and the number of runs that use it."""

    project: Project
    hosts: OwnedHosts
    users: int = 0


class AgentRuntimes:
    """Runtimes of the project's agents. A reload doesn't affect active runs; old hosts close after their last run.

    Args:
        make_guard: compiles a policy.
        make_hosts: creates hosts for a project's tools.
        lookup: source of evidence for guards.
    """

    def __init__(
        self,
        live: CurrentProject,
        make_guard: Callable[[Policy], Guarding],
        make_hosts: Callable[[Project], OwnedHosts],
        lookup: EvidenceSource = NO_EVIDENCE,
    ) -> None:
        self._live = live
        self._guards = Guards(make_guard)
        self._make_hosts = make_hosts
        self._lookup = lookup
        self._latest: _HostsInUse | None = None
        self._changing = asyncio.Lock()

    async def prepare(self) -> None:
        """Starts the hosts of the project's tools, so that the first run doesn't wait for them."""
        await self._current()

    @asynccontextmanager
    async def using(self, run: Run) -> AsyncIterator[AgentRuntime]:
        """Runtime of a run in the current project. Raises NotFound if the project has no such agent or policy."""
        in_use = await self._current()
        in_use.users += 1
        try:
            yield runtime_of(in_use.project, run, in_use.hosts, self._guards, self._lookup)
        finally:
            in_use.users -= 1
            if in_use is not self._latest and in_use.users == 0:
                await in_use.hosts.close()

    async def close(self) -> None:
        in_use, self._latest = self._latest, None
        if in_use is not None:
            await in_use.hosts.close()

    async def _current(self) -> _HostsInUse:
        async with self._changing:
            project, in_use = self._live.current(), self._latest
            if in_use is not None and project is in_use.project:
                return in_use
            if in_use is not None and project.tools_sha256 == in_use.project.tools_sha256:
                in_use.project = project  # only agents or policies changed, so the hosts stay
                return in_use
            hosts = self._make_hosts(project)
            await hosts.__aenter__()
            self._latest = _HostsInUse(project, hosts)
            if in_use is not None and in_use.users == 0:
                await in_use.hosts.close()
            return self._latest
