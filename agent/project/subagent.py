"""Sub-agents: an agent as a tool of another one.

A call of such a tool is performed by a run of its own. The journal creates that run in the transaction of the call's
intent, and tells the run that asked when it has ended.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.project.agent_spec import AgentSpec
from agent.run.budgets import resolve
from flightloop.content import TextPart, text_of
from flightloop.errors import ConfigError
from flightloop.events import AgentReturned, RunCreated, ToolIntent
from flightloop.runs import Budget, Caller, Parent, Run, RunStatus
from flightloop.tool import Effect, Tool, ToolSpec
from tools.host import ToolOutcome
from tools.registry import performed_elsewhere

DEEPEST = 4
"""Agents in a row that may ask each other."""
LONGEST = 64
"""Characters of a tool's name that models take."""
TASK = {
    "type": "object",
    "properties": {
        "task": {"type": "string", "minLength": 1, "description": "What to do, with all that has to be known for it."}
    },
    "required": ["task"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Subagent:
    """An agent that another one can give tasks to, and the policy of its own."""

    spec: AgentSpec
    policy_sha256: str

    @property
    def tool(self) -> str:
        """The name of the tool that it is."""
        return tool_name(self.spec.name)


def tool_name(agent: str) -> str:
    return re.sub(r"\W", "_", f"ask_{agent}")


def run_id(key: str) -> str:
    """Of the run that works on the call with this key: whoever takes the call over means the same one."""
    return f"run_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def check(agents: Mapping[str, AgentSpec]) -> None:
    """Raises ConfigError: an agent asks one that is unknown, itself by way of others, or too many in a row."""
    for agent in agents.values():
        _check(agent, agents, ())


def _check(agent: AgentSpec, agents: Mapping[str, AgentSpec], above: tuple[str, ...]) -> None:
    row = (*above, agent.name)
    told = " → ".join(row)
    if agent.name in above:
        raise ConfigError(f"agents: {told}: an agent can't work for itself", param="agents")
    if len(tool_name(agent.name)) > LONGEST:
        raise ConfigError(f"agents: {agent.name}: its tool's name has more than {LONGEST} characters", param="agents")
    if len(row) > DEEPEST:
        raise ConfigError(f"agents: {told}: at most {DEEPEST} may ask each other in a row", param="agents")
    for name in agent.agents:
        if name not in agents:
            known = ", ".join(sorted(agents))
            raise ConfigError(f"agents: {told}: no agent is named {name}; known: {known}", param="agents")
        _check(agents[name], agents, row)


def as_tool(agent: AgentSpec, *, recorded: bool = False) -> Tool:
    """The agent as a model is shown it. ``recorded``: a tool like others, whose hosts know what was answered."""
    spec = ToolSpec(
        name=tool_name(agent.name),
        description=agent.description or f"Gives a task to the agent {agent.name}.",
        parameters=TASK,
        effect=Effect.KEYED,
        returns_untrusted=True,  # it may have read what strangers wrote
        agent=None if recorded else agent.name,
    )
    return performed_elsewhere(spec)


def run_for(
    intent: ToolIntent,
    caller: Run,
    agent: Subagent,
    share: Budget,
    user_text: str,
    *,
    tainted: bool,
    plan: Sequence[str] | None = None,
) -> RunCreated:
    """The run that works on a call.

    Args:
        intent: of the call.
        caller: the run that makes it.
        share: what it may use of the caller's budget.
        user_text: what the user said to the caller, or to the run that that one works for.
        tainted: whether the caller had read something that looks like an instruction.
        plan: the tools that the caller's plan names, if its policy locks to the plan.
    """
    above: Sequence[Caller] = caller.parent.callers if caller.parent else ()
    callers = [*above, Caller(run_id=caller.id, agent=caller.agent, policy=caller.policy)]
    return RunCreated(
        run_id=run_id(intent.key),
        agent=agent.spec.name,
        session_id=caller.session_id,
        tenant_id=caller.tenant_id,
        input=[TextPart(text=intent.arguments["task"])],
        budget=resolve(agent.spec.budget.budget(), share),
        session_budget=resolve(agent.spec.session_budget, caller.session_budget),
        policy_sha256=agent.policy_sha256,
        parent=Parent(
            call_id=intent.call_id,
            callers=callers,
            user_text=user_text,
            tainted=tainted,
            plan=None if plan is None else list(plan),
        ),
        model=caller.model,
        traceparent=caller.traceparent,
    )


def outcome(returned: AgentReturned) -> ToolOutcome:
    """A call's outcome, of how its run ended."""
    said = text_of(returned.output or [])
    seconds = returned.usage.seconds
    if returned.status is RunStatus.SUCCEEDED:
        return ToolOutcome(True, said, seconds=seconds)
    why = f": {returned.error.message}" if returned.error else ""
    so_far = f"; it had said: {said}" if said else ""
    return ToolOutcome(False, error=f"its run ended {returned.status}{why}{so_far}", seconds=seconds)
