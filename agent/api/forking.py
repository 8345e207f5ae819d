"""Selects a fork's policy, and limits concurrent forks.

A fork keeps its run's policy. An admin may choose another one, which is audited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.api.auth import Principal
from agent.api.pages import unknown
from flightloop.errors import Conflict, Forbidden, Overloaded
from flightloop.keys import Right, roles_with
from flightloop.runs import AgentInfo, Run, RunFork
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.turns import Turns

RAIL = "fork"
"""Rail name in the audit record of a fork under another policy."""
WAITING = 32
"""Maximum number of forks of one tenant that wait for their turn."""
RETRY_S = 2.0


@dataclass(frozen=True)
class ForkPolicy:
    """Policy of a fork. ``name``: None for the agent's policy. ``record``: audit record if only an admin may select the
    policy."""

    name: str | None
    sha256: str
    record: Verdict | None = None


def policy_of_fork(
    parent: Run, agent: AgentInfo, body: RunFork, known: Mapping[str, str], caller: Principal
) -> ForkPolicy:
    """Selects the policy of a fork of ``parent``.

    Policies are compared by hash, so a changed file is another policy. If an admin gave the parent a policy other than
    its agent's, forking it also requires the role admin.

    Args:
        agent: the parent's agent, as it is now.
        known: hashes of the project's policies, by name.

    Raises:
        NotFound: no such policy.
        Conflict: the parent's policy has changed, and the request names none.
        Forbidden: the fork would have another policy, and the caller is not an admin.
    """
    name = body.policy or parent.policy
    if name is not None and name not in known:
        raise unknown("policy", name, known, "policy")
    told = name or agent.policy
    sha256 = agent.policy_sha256 if name is None else known[name]
    changed = sha256 != parent.policy_sha256
    if changed and body.policy is None:
        raise Conflict(
            f"run {parent.id} used a policy with the hash {_short(parent.policy_sha256)}; its policy {told} now has"
            f" the hash {_short(sha256)}. Restore the policy's file or, as an admin, fork the run under the changed"
            f" policy by naming it (policy={told!r})",
            param="policy",
        )
    if not changed and sha256 == agent.policy_sha256:
        return ForkPolicy(parent.policy, sha256)
    if not caller.role.may(Right.ADMINISTER):
        raise Forbidden(
            f"forking run {parent.id} under a policy other than its own, or other than its agent's, needs the role"
            f" {roles_with(Right.ADMINISTER)}; {caller.called} has the role {caller.role}. Omit 'policy' to keep"
            " the run's own",
            param="policy",
        )
    return ForkPolicy(None if name == agent.policy else name, sha256, _record(parent, body.step, told, sha256, caller))


@asynccontextmanager
async def turn(turns: Turns, tenant_id: str) -> AsyncIterator[None]:
    """Runs one fork of a tenant at a time. Raises Overloaded if too many are waiting."""
    if turns.waits(tenant_id) >= WAITING:
        raise Overloaded(f"{WAITING} forks are already waiting, which is the limit; try again", retry_after=RETRY_S)
    async with turns.one(tenant_id):
        yield


def _record(parent: Run, step: int, name: str, sha256: str, caller: Principal) -> Verdict:
    return Verdict(
        action=Action.ALLOW,
        rail=RAIL,
        stage=Stage.INPUT,
        reason=f"{caller.name} forked run {parent.id} after step {step} under the policy {name} ({_short(sha256)})"
        f" instead of its own ({_short(parent.policy_sha256)})",
        labels=["another_policy"],
        policy_sha256=sha256,
    )


def _short(sha256: str) -> str:
    return sha256[:12] or "none"
