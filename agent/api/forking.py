"""A fork's policy (that of the run it begins with, or, for an admin, another one, on record), and its turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.api.auth import Principal
from agent.api.pages import unknown
from flightloop.errors import Conflict, Forbidden, Overloaded
from flightloop.keys import Role
from flightloop.runs import AgentInfo, Run, RunFork
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.turns import Turns

RAIL = "fork"
"""Names the audit record of a fork under another policy."""
WAITING = 32
"""Forks of one tenant whose turn may be still to come."""
RETRY_S = 2.0


@dataclass(frozen=True)
class ForkPolicy:
    """``name``: None for that of the agent. ``record``: for the audit, if the run was not under it."""

    name: str | None
    sha256: str
    record: Verdict | None = None


def policy_of_fork(
    parent: Run, agent: AgentInfo, body: RunFork, known: Mapping[str, str], caller: Principal
) -> ForkPolicy:
    """What a fork of ``parent`` has to pass.

    Policies are compared by their hashes: a file that has changed is another policy. So is one that an admin gave the
    parent in the place of its agent's: whoever forks that run needs the role too.

    Args:
        agent: the parent's, as it is now.
        known: hashes of the project's policies, by name.

    Raises:
        NotFound: no such policy.
        Conflict: the parent's policy has changed, and the fork names none.
        Forbidden: it is another policy, and the caller is no admin.
    """
    name = body.policy or parent.policy
    if name is not None and name not in known:
        raise unknown("policy", name, known, "policy")
    told = name or agent.policy
    sha256 = agent.policy_sha256 if name is None else known[name]
    changed = sha256 != parent.policy_sha256
    if changed and body.policy is None:
        raise Conflict(
            f"run {parent.id} was under a policy with the hash {_short(parent.policy_sha256)}; its policy {told} has"
            f" the hash {_short(sha256)} by now. Put the file back, or fork the run under the present policy as an"
            f" admin, by naming it: policy {told!r}",
            param="policy",
        )
    if not changed and sha256 == agent.policy_sha256:
        return ForkPolicy(parent.policy, sha256)
    if not caller.role.allows(Role.ADMIN):
        raise Forbidden(
            f"a fork under another policy than that of run {parent.id} and of its agent needs the role {Role.ADMIN};"
            f" the key {caller.name} has {caller.role}. Leave policy out to keep the run's own",
            param="policy",
        )
    return ForkPolicy(None if name == agent.policy else name, sha256, _record(parent, body.step, told, sha256, caller))


@asynccontextmanager
async def turn(turns: Turns, tenant_id: str) -> AsyncIterator[None]:
    """While it is open, the tenant has no other fork made here. Raises Overloaded: too many wait for that."""
    if turns.waits(tenant_id) >= WAITING:
        raise Overloaded(f"{WAITING} forks wait for their turn already: try again", retry_after=RETRY_S)
    async with turns.one(tenant_id):
        yield


def _record(parent: Run, step: int, name: str, sha256: str, caller: Principal) -> Verdict:
    return Verdict(
        action=Action.ALLOW,
        rail=RAIL,
        stage=Stage.INPUT,
        reason=f"{caller.name} forked run {parent.id} after step {step} under the policy {name} ({_short(sha256)})"
        f" in the place of its own ({_short(parent.policy_sha256)})",
        labels=["another_policy"],
        policy_sha256=sha256,
    )


def _short(sha256: str) -> str:
    return sha256[:12] or "none"
