"""What an agent offers to attackers: tools that read strangers' text, and tools that change something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.project.agent_spec import AgentSpec
from agent.project.project import Project
from agent.redteam.attack import LeftOut
from agent.redteam.objects import Objects
from flightloop.tool import EVERY_FIELD, Permission, ToolSpec
from guardrails.evidence.acts import changes_something
from guardrails.policy import Policy


@dataclass(frozen=True)
class Target:
    """An agent under attack.

    Attributes:
        readers: tools that only read, and whose results strangers may write in part.
        writers: tools whose calls change something.
        others: other tools that the agent may call.
        objects: objects that calls can name.
        stood_in: tools that are not called; a stand-in answers.
        left_out: what is not attacked.
    """

    agent: AgentSpec
    policy: Policy
    readers: Sequence[ToolSpec]
    writers: Sequence[ToolSpec]
    others: Sequence[ToolSpec]
    stood_in: frozenset[str]
    objects: Objects = field(default_factory=Objects)
    left_out: Sequence[LeftOut] = ()

    @property
    def tools(self) -> list[ToolSpec]:
        return [*self.readers, *self.writers, *self.others]

    def only_anonymous(self) -> LeftOut | None:
        """What is left out if no end user is known, though the policy refuses tools to who is not signed in."""
        bound = self.policy.document.subject
        if bound is None or self.objects.subject is not None or bound.anonymous.permits("*"):
            return None
        return LeftOut(
            f"signed-in users of agent {self.agent.name}",
            "none is known from the data, so all attacks are those of an anonymous user",
        )


def targets(project: Project) -> tuple[list[Target], list[LeftOut]]:
    """The project's agents that can be attacked, and what is left out."""
    found, left = [], []
    for agent in project.agents.values():
        if agent.procedure is not None:
            left.append(LeftOut(f"agent {agent.name}", "a program decides its calls, not a model"))
            continue
        target = _target(project, agent)
        if target.tools:
            found.append(target)
        else:
            left.append(LeftOut(f"agent {agent.name}", f"its policy {target.policy.name} allows none of its tools"))
        left += target.left_out
    return found, list(dict.fromkeys(left))


def _target(project: Project, agent: AgentSpec) -> Target:
    policy = project.policy_of(agent)
    tools = policy.document.tools
    allowed = tools.allowed(agent.name)
    specs = [project.registry.get(name) for name in agent.tools if name in allowed or "*" in allowed]
    readers = [spec for spec in specs if not changes_something(spec) and spec.trusted_fields != EVERY_FIELD]
    writers = [spec for spec in specs if changes_something(spec) and spec.name not in tools.harmless]
    others = [spec for spec in specs if not changes_something(spec) and spec not in readers]
    remote = frozenset(one.spec.name for one in project.server_tools)
    stood_in = frozenset(spec.name for spec in project.registry.specs() if _reaches_out(spec) or spec.name in remote)
    return Target(
        agent, policy, readers, writers, others, stood_in, left_out=_left_out(project, agent, specs, stood_in)
    )


def _reaches_out(spec: ToolSpec) -> bool:
    return Permission.NETWORK in spec.permissions or bool(spec.folders)


def _left_out(project: Project, agent: AgentSpec, specs: Sequence[ToolSpec], stood_in: frozenset[str]) -> list[LeftOut]:
    document = project.policy_of(agent).document
    left = [
        LeftOut(f"tool {spec.name}", "reaches out of this machine or of the tools' data: judged, but not called")
        for spec in specs
        if spec.name in stood_in
    ]
    harmless = [spec.name for spec in specs if spec.name in document.tools.harmless]
    left += [LeftOut(f"tool {name}", "the policy calls its writes harmless") for name in harmless]
    left += [LeftOut(f"agent {name} below {agent.name}", "sub-agents are attacked alone") for name in agent.agents]
    if document.constitution.enabled:
        left.append(LeftOut(f"constitution of {document.name}", "needs a model as judge"))
    others = f"other subjects, policy {document.name}"
    if document.subject is None:
        left.append(LeftOut(others, "it has no section subject, so nobody owns anything"))
        return left
    if not document.subject.arguments:
        left.append(LeftOut(others, "its section subject binds no arguments, so only the tools refuse such calls"))
    evidence = {one.evidence for one in document.subject.arguments.values() if one.evidence} & stood_in
    return [
        *left,
        *(LeftOut(others, f"who owns what is told by {name}, which is not called") for name in sorted(evidence)),
    ]
