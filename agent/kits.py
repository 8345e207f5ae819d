"""What an agent's runs work with (spec, guard, tool hosts), kept in step with a changing project."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from agent.facts import NO_LOOKUP, Lookup
from agent.gate import Guarding, Hosts
from agent.project import LiveProject, Project
from agent.spec import AgentSpec
from guardrails.policy import Policy


class OwnedHosts(Hosts, Protocol):
    """Hosts that somebody has to start and close."""

    async def __aenter__(self) -> Hosts: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Kit:
    agent: AgentSpec
    guard: Guarding
    hosts: Hosts
    lookup: Lookup = NO_LOOKUP


class Guards:
    """Guards by policy, each compiled once.

    Args:
        make: compiles a policy.
    """

    def __init__(self, make: Callable[[Policy], Guarding]) -> None:
        self._make = make
        self._made: dict[str, Guarding] = {}

    def of(self, policy: Policy) -> Guarding:
        if policy.sha256 not in self._made:
            self._made[policy.sha256] = self._make(policy)
        return self._made[policy.sha256]


@dataclass(eq=False)
class _Shift:
    """One state of the project's tools and the runs that still use it."""

    project: Project
    hosts: OwnedHosts
    users: int = 0


class Kits:
    """Hands out kits. A run keeps its kit to its end; hosts of an old project close after its last run.

    Args:
        make_guard: compiles a policy.
        make_hosts: hosts for a project's tools.
        lookup: what agents can look up.
    """

    def __init__(
        self,
        live: LiveProject,
        make_guard: Callable[[Policy], Guarding],
        make_hosts: Callable[[Project], OwnedHosts],
        lookup: Lookup = NO_LOOKUP,
    ) -> None:
        self._live = live
        self._guards = Guards(make_guard)
        self._make_hosts = make_hosts
        self._lookup = lookup
        self._shift: _Shift | None = None
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def using(self, agent: str, policy: str | None = None) -> AsyncIterator[Kit]:
        """The agent's kit as the project is now, with another policy if one is named.

        Raises:
            NotFound: there is no such agent or policy.
        """
        shift = await self._current()
        shift.users += 1
        try:
            spec = shift.project.agent(agent)
            if policy is not None:
                spec = spec.model_copy(update={"policy": policy})
            yield Kit(spec, self._guards.of(shift.project.policy_of(spec)), shift.hosts, self._lookup.of(spec))
        finally:
            shift.users -= 1
            if shift is not self._shift and shift.users == 0:
                await shift.hosts.close()

    async def close(self) -> None:
        shift, self._shift = self._shift, None
        if shift is not None:
            await shift.hosts.close()

    async def _current(self) -> _Shift:
        async with self._changing:
            project, shift = self._live.current(), self._shift
            if shift is not None and project is shift.project:
                return shift
            if shift is not None and project.tools_sha256 == shift.project.tools_sha256:
                shift.project = project  # only agents or policies changed: the hosts stay
                return shift
            hosts = self._make_hosts(project)
            await hosts.__aenter__()
            self._shift = _Shift(project, hosts)
            if shift is not None and shift.users == 0:
                await shift.hosts.close()
            return self._shift
