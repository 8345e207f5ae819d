"""Agents that work for each other, over a bench."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from agent.loop.agent_runtime import AgentRuntime, runtime_of
from agent.loop.local_hosts import LocalHosts
from agent.project.agent_spec import AgentSpec
from agent.project.guards import Guards
from agent.project.project import Project
from agent.project.subagent import check
from agent.testing.fakes import RuleGuard
from flightloop.runs import Run
from flightloop.tool import Tool
from guardrails.policy import Policy, default_policy
from guardrails.types import Guarding
from tools.registry import Registry

STRICT = replace(default_policy(), name="strict", sha256="strict")


@dataclass
class FamilyKits:
    project: Project
    hosts: LocalHosts
    guards: Guards

    @asynccontextmanager
    async def using(self, run: Run) -> AsyncIterator[AgentRuntime]:
        yield runtime_of(self.project, run, self.hosts, self.guards)


def agent(name: str, *agents: str, tools: Iterable[str] = (), **fields: Any) -> AgentSpec:
    given = {"instructions": f"You are {name}.", "planning": False, "description": f"Knows {name}."} | fields
    return AgentSpec(name=name, agents=agents, tools=tuple(tools), **given)


def family_of(
    bench: Any,
    agents: Iterable[AgentSpec],
    tools: Iterable[Callable[..., Any]] = (),
    guards: Callable[[Policy], Guarding] | None = None,
    policies: Iterable[Policy] = (),
) -> Any:
    """The bench, whose agents these are; the first one is its own."""
    declared: list[Tool] = [one.__flightloop_tool__ for one in tools]  # type: ignore[attr-defined]
    named = {one.name: one for one in agents}
    check(named)
    known = {policy.name: policy for policy in (replace(default_policy(), name="default"), STRICT, *policies)}
    project = Project(bench.tmp_path, named, known, (), Registry(declared), "")
    bench.hosts = LocalHosts(declared)
    bench.kits = FamilyKits(project, bench.hosts, Guards(guards or (lambda policy: RuleGuard(policy=policy))))
    bench.agent = next(iter(named.values()))
    return bench
