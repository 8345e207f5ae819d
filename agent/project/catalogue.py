"""The project's agents, tools and policies for the HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from agent.project.agent_spec import AgentSpec
from agent.project.guards import Guards
from agent.project.project import CurrentProject, Project
from flightloop.errors import NotFound
from flightloop.predictions import PREDICT
from flightloop.runs import AgentInfo, PolicyInfo, ProjectInfo, Run, ToolInfo
from guardrails.policy import Policy
from guardrails.types import Guarding


class ProjectCatalogue:
    """Implements ``agent.api.deps.Catalogue`` for a live project; ``model`` is the name of the agents' model."""

    def __init__(self, live: CurrentProject, make_guard: Callable[[Policy], Guarding], model: str) -> None:
        self._live = live
        self._model = model
        self._guards = Guards(make_guard)
        self._loaded: dict[str, datetime] = {}

    def agents(self) -> list[AgentInfo]:
        project = self._live.current()
        return [self._info(project, agent) for agent in project.agents.values()]

    def predictor(self) -> AgentInfo:
        """The agent that predicts: the project's, or the built-in one."""
        project = self._live.current()
        return self._info(project, project.agent(PREDICT))

    def _info(self, project: Project, agent: AgentSpec) -> AgentInfo:
        return AgentInfo(
            name=agent.name,
            description=agent.description,
            model=self._model,
            tools=list(agent.tools),
            agents=list(agent.agents),
            policy=agent.policy,
            policy_sha256=project.policy_of(agent).sha256,
            budget=agent.budget.budget(),
            session_budget=agent.session_budget,
            planning=agent.planning,
        )

    def tools(self) -> list[ToolInfo]:
        return [
            ToolInfo(
                name=spec.name,
                description=spec.description,
                parameters=spec.parameters,
                effect=spec.effect.value,
                timeout_s=spec.timeout_s,
                permissions=sorted(permission.value for permission in spec.permissions),
                retries=spec.retries,
            )
            for spec in self._live.current().registry.specs()
        ]

    def policies(self) -> list[PolicyInfo]:
        return [
            policy.info(self._loaded.setdefault(policy.sha256, datetime.now(UTC)))
            for policy in self._live.current().policies.values()
        ]

    def project(self) -> ProjectInfo:
        return self._live.info()

    def guard(self) -> Guarding:
        """Guard of the policy ``default``."""
        return self._guards.of(self._live.current().policies["default"])

    def guard_of(self, run: Run) -> Guarding:
        """Guard of a run's policies as they are now; of the policy ``default`` if its agent is gone."""
        try:
            return self._guards.of_run(self._live.current(), run)
        except NotFound:
            return self.guard()
