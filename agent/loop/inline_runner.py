"""Executes runs in this process, one at a time and without a worker, for lessons and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent.loop.agent_runtime import AgentRuntime
from agent.loop.context import Conversation
from agent.loop.gate import Gate
from agent.loop.leased_run import LeasedRun
from agent.loop.loop import Loop, Stop
from agent.loop.run_dependencies import RunDependencies
from agent.loop.session import converse
from agent.models.chat_model import ChatModel
from agent.run.budgets import Prices
from agent.run.deltas import Deltas, LocalDeltas
from agent.run.journal import Claim, Journal, Released
from flightloop.acts import system
from flightloop.events import RunCreated
from flightloop.runs import Approval, Run
from observability.tracing import Tracing, untraced

LEASE_S = 3600.0
USER = system("user")
"""Who starts the runs; not the person who decides on approvals."""

Operator = Callable[[Approval], str | None]
"""Decides on a call that waits for approval: returns a reason to deny it, or None to approve it."""


def agrees(approval: Approval) -> None:
    """The operator that approves every call."""


@dataclass(frozen=True)
class Driven:
    """A run that has ended, with its state under the last lease."""

    leased: LeasedRun
    gate: Gate
    conversation: Conversation

    @property
    def run(self) -> Run:
        return self.leased.run


@dataclass(frozen=True)
class InlineRunner:
    """Executes runs of a journal that has no workers.

    Args:
        runtime: returns the runtime of a run.
        data: folder of the tools' data.
        name: recorded as the worker, and as the person who decides on approvals.
        deltas: channel on which the runs' text is published.
    """

    journal: Journal
    runtime: Callable[[Run], AgentRuntime]
    data: Path
    name: str
    prices: Prices = field(default_factory=Prices)
    tracing: Tracing = field(default_factory=lambda: Tracing(untraced()))
    deltas: Deltas = field(default_factory=LocalDeltas)

    async def run(self, created: RunCreated, model: ChatModel, model_name: str, operator: Operator = agrees) -> Driven:
        """Executes a new run to its end. Raises internal errors and errors of the model's implementation."""
        run = (await self.journal.create(created, actor=USER)).run
        while True:
            claim = await self.journal.claim(self.name, LEASE_S)
            assert claim is not None, f"{run.id} is {run.status}"
            driven, rest = await self._drive(claim, model, model_name)
            if driven.run.status.terminal:
                if driven.run.id == run.id:
                    return driven
                continue  # it was a sub-run; its parent is queued again
            await self.journal.release(claim.lease, rest, driven.run.last_seq)
            for approval in await self.journal.run_approvals(driven.run.id):
                if approval.status == "pending":
                    await self._decide(run.tenant_id, approval, operator(approval))

    async def _decide(self, tenant_id: str, approval: Approval, reason: str | None) -> None:
        """Denies a call, or approves it once for each person who must approve."""
        if reason is not None:
            await self.journal.decide(tenant_id, approval.id, "deny", self.name, reason)
            return
        for number in range(approval.needed):
            person = f"{self.name} {number + 1}" if number else self.name
            await self.journal.decide(tenant_id, approval.id, "approve", person)

    async def _drive(self, claim: Claim, model: ChatModel, model_name: str) -> tuple[Driven, Released]:
        """Executes a run under one lease; returns it with the status in which to release it."""
        runtime = self.runtime(claim.run)
        leased = await LeasedRun.open(self.journal, claim.run.tenant_id, claim.lease)
        can = model.capabilities
        conversation = await converse(self.journal, claim.run, runtime, can.context_length, sees=can.sees)
        deps = RunDependencies(
            agent=runtime.agent,
            guard=runtime.guard,
            model=model,
            model_name=model_name,
            hosts=runtime.hosts,
            deltas=self.deltas,
            prices=self.prices,
            data=self.data,
            clock=lambda: datetime.now(UTC),
            tracing=self.tracing,
            lookup=runtime.lookup,
            subagents=runtime.subagents,
        )
        loop = Loop(deps, leased, conversation, Stop())
        await loop.drive()
        return Driven(leased, Gate(deps, leased, conversation), conversation), loop.rest
