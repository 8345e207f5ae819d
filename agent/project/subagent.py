"""Sub-agents: agents as tools of other agents.

A call of such a tool is performed by a separate run, a sub-run. The journal creates the sub-run in the transaction of
the call's intent and reports its end to the calling run.
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
"""Maximum number of agents in a chain in which each delegates to the next."""
LONGEST = 64
"""Longest tool name that models accept."""
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
    """An agent to which another agent can delegate, and the digest of its own policy."""

    spec: AgentSpec
    policy_sha256: str

    @property
    def tool(self) -> str:
        """Name of the agent as a tool."""
        return tool_name(self.spec.name)


def tool_name(agent: str) -> str:
    return re.sub(r"\W", "_", f"ask_{agent}")


def run_id(key: str) -> str:
    """Id of the sub-run for the call with this idempotency key. Deterministic, so that a retry finds the same run."""
    return f"run_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def check(agents: Mapping[str, AgentSpec]) -> None:
    """Raises ConfigError if an agent delegates to an unknown agent, in a cycle, or in too long a chain."""
    for agent in agents.values():
        _check(agent, agents, ())


def _check(agent: AgentSpec, agents: Mapping[str, AgentSpec], above: tuple[str, ...]) -> None:
    row = (*above, agent.name)
    told = " → ".join(row)
    if agent.name in above:
        raise ConfigError(f"agents: {told}: an agent can't delegate to itself, not even through others", param="agents")
    if len(tool_name(agent.name)) > LONGEST:
        raise ConfigError(f"agents: {agent.name}: the tool's name exceeds {LONGEST} characters", param="agents")
    if len(row) > DEEPEST:
        raise ConfigError(f"agents: {told}: a chain can't have more than {DEEPEST} agents", param="agents")
    for name in agent.agents:
        if name not in agents:
            known = ", ".join(sorted(agents))
            raise ConfigError(f"agents: {told}: no agent is named {name}; known: {known}", param="agents")
        _check(agents[name], agents, row)


def as_tool(agent: AgentSpec, *, recorded: bool = False) -> Tool:
    """The agent as a tool. With ``recorded``, an ordinary tool instead, for hosts that replay recorded answers."""
    spec = ToolSpec(
        name=tool_name(agent.name),
        description=agent.description or f"Gives a task to the agent {agent.name}.",
        parameters=TASK,
        effect=Effect.KEYED,
        returns_untrusted=True,  # it may have read untrusted text
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
    """Creates the sub-run that performs a call to another agent.

    Args:
        intent: the journaled intent of the call.
        caller: the run that makes the call.
        share: part of the caller's budget granted to the sub-run.
        user_text: the user's words in the root run.
        tainted: whether the caller has read text that looks like an instruction.
        plan: names of the tools in the caller's plan; None unless its policy sets ``lock_to_plan``.
    """
    above: Sequence[Caller] = caller.parent.callers if caller.parent else ()
    callers = [*above, Caller(run_id=caller.id, agent=caller.agent, policy=caller.policy)]
    return RunCreated(
        run_id=run_id(intent.key),
        agent=agent.spec.name,
        session_id=caller.session_id,
        tenant_id=caller.tenant_id,
        subject=caller.subject,
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
        started_by=caller.started_by,
    )


def outcome(returned: AgentReturned) -> ToolOutcome:
    """Outcome of a call whose sub-run has ended. If the sub-run made calls before it failed, they may have had the
    effect that was asked for."""
    said = text_of(returned.output or [])
    seconds = returned.usage.seconds
    if returned.status is RunStatus.SUCCEEDED:
        return ToolOutcome(True, said, seconds=seconds)
    why = f": {returned.error.message}" if returned.error else ""
    so_far = f"; its last text was: {said}" if said else ""
    return ToolOutcome(
        False,
        error=f"the agent's run ended as {returned.status}{why}{so_far}",
        seconds=seconds,
        uncertain=returned.usage.tool_calls > 0,
    )
