"""Guards of runs, by the policies of their agents."""

from __future__ import annotations

from collections.abc import Callable

from agent.project.project import Project
from flightloop.runs import Run
from guardrails.layered import Layered
from guardrails.policy import Policy
from guardrails.types import Guarding


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

    def of_run(self, project: Project, run: Run) -> Guarding:
        """The guard of a run. It enforces the run's own policy and, for a sub-run, the policies of its callers.

        The built-in agent also obeys the project's default policy.

        Raises:
            NotFound: the project no longer has one of the agents or policies.
        """
        callers = [(caller.agent, caller.policy) for caller in (run.parent.callers if run.parent else [])]
        policies = [policy_named(project, agent, policy) for agent, policy in [*callers, (run.agent, run.policy)]]
        own = policies[-1]
        if run.agent not in project.agents:
            policies.insert(0, project.policies["default"])
        others = {policy.sha256: policy for policy in policies if policy.sha256 != own.sha256}
        if not others:
            return self.of(own)
        return Layered([self.of(policy) for policy in (*others.values(), own)])


def policy_named(project: Project, agent: str, policy: str | None) -> Policy:
    """Policy of an agent, or ``policy`` if given. Raises NotFound."""
    spec = project.agent(agent)
    return project.policy_of(spec if policy is None else spec.model_copy(update={"policy": policy}))
