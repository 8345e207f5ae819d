"""Runs driven in this process, one after the other and without a worker: lessons, and tasks that are played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent.loop.agent_runtime import Kit
from agent.loop.context import Conversation
from agent.loop.gate import Gate
from agent.loop.leased_run import LeasedRun
from agent.loop.loop import Loop, Stop
from agent.loop.run_dependencies import RunDependencies
from agent.loop.session import converse
from agent.models.chat_model import ChatModel
from agent.run.budgets import Prices
from agent.run.deltas import LocalDeltas
from agent.run.journal import Claim, Journal, Released
from flightloop.events import RunCreated
from flightloop.runs import Approval, Run
from observability.tracing import Tracing, untraced

LEASE_S = 3600.0

Operator = Callable[[Approval], str | None]
"""Asked about each call that waits for a person: why not, or None to agree."""


def agrees(approval: Approval) -> None:
    """An operator who agrees to everything."""


@dataclass(frozen=True)
class Driven:
    """A run that has ended, with what its last lease knew of it."""

    book: LeasedRun
    gate: Gate
    conversation: Conversation

    @property
    def run(self) -> Run:
        return self.book.run


@dataclass(frozen=True)
class InlineRunner:
    """Drives the runs of a journal that nobody else works on.

    Args:
        kit: what a run works with.
        data: folder of the tools' data.
        name: of whoever drives them and decides about their calls.
    """

    journal: Journal
    kit: Callable[[Run], Kit]
    data: Path
    name: str
    prices: Prices = field(default_factory=Prices)
    tracing: Tracing = field(default_factory=lambda: Tracing(untraced()))

    async def run(self, created: RunCreated, model: ChatModel, model_name: str, operator: Operator = agrees) -> Driven:
        """A new run, to its end. Faults of ours and of the model's implementation are raised."""
        run = (await self.journal.create(created)).run
        while True:
            claim = await self.journal.claim(self.name, LEASE_S)
            assert claim is not None, f"{run.id} is {run.status}"
            driven, rest = await self._drive(claim, model, model_name)
            if driven.run.status.terminal:
                if driven.run.id == run.id:
                    return driven
                continue  # it worked for another run, which is queued again
            await self.journal.release(claim.lease, rest, driven.run.last_seq)
            for approval in await self.journal.run_approvals(driven.run.id):
                if approval.status == "pending":
                    reason = operator(approval)
                    await self.journal.decide(
                        run.tenant_id, approval.id, "approve" if reason is None else "deny", self.name, reason
                    )

    async def _drive(self, claim: Claim, model: ChatModel, model_name: str) -> tuple[Driven, Released]:
        """What became of a run, and what it is until somebody goes on with it."""
        kit = self.kit(claim.run)
        book = await LeasedRun.open(self.journal, claim.run.tenant_id, claim.lease)
        conversation = await converse(self.journal, claim.run, kit, model.capabilities.context_length)
        means = RunDependencies(
            agent=kit.agent,
            guard=kit.guard,
            model=model,
            model_name=model_name,
            hosts=kit.hosts,
            deltas=LocalDeltas(),
            prices=self.prices,
            data=self.data,
            clock=lambda: datetime.now(UTC),
            tracing=self.tracing,
            lookup=kit.lookup,
            subagents=kit.subagents,
        )
        loop = Loop(means, book, conversation, Stop())
        await loop.drive()
        return Driven(book, Gate(means, book, conversation), conversation), loop.rest
