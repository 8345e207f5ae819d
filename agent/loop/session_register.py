"""Placeholders of a run's session, where the policy hides personal data from the model."""

from __future__ import annotations

import asyncio

from agent.loop.context import Conversation
from agent.loop.leased_run import LeasedRun
from agent.loop.run_dependencies import RunDependencies
from agent.loop.session_texts import TurnTexts
from agent.model_call.masking import not_hidden
from guardrails.aside import aside, on_behalf_of
from guardrails.placeholder_policy import EVERY, PlaceholderPolicy
from guardrails.placeholders.register import Register


class SessionRegister:
    """The register of a run, extended while its history grows.

    The agent's own texts have a register of their own: other agents of the session number the same values alike.
    """

    def __init__(self, deps: RunDependencies, leased: LeasedRun, conversation: Conversation) -> None:
        self._deps, self._leased, self._conversation = deps, leased, conversation
        self._session: Register | None = None
        self._fixed: Register | None = None
        self._turns = TurnTexts()
        self._reading = asyncio.Lock()

    async def read(self) -> Register | None:
        """The register up to the history's end; None if the policy hides nothing.

        Raises:
            GuardrailBlocked: personal data could not be looked for.
        """
        policy = self._deps.guard.policy.document.placeholders
        if policy is None:
            return None
        try:
            return await self._read(policy)
        except Exception as error:
            raise not_hidden(error) from error

    async def _read(self, policy: PlaceholderPolicy) -> Register:
        async with self._reading:
            with on_behalf_of(self._leased.run.tenant_id):
                if self._session is None or self._fixed is None:
                    self._session, self._fixed = await self._begun(self._with_agents(policy))
                texts = self._turns.follow(self._leased.history)
                await aside(sum(map(len, texts)), self._session.read, texts)
            return self._session.beside(self._fixed)

    async def _begun(self, policy: PlaceholderPolicy) -> tuple[Register, Register]:
        """Registers of the session up to the run's input, and of the agent's own texts."""
        subject = self._leased.run.subject
        claims = [] if subject is None else [subject.id, *map(str, subject.claims.values())]
        texts, own = [*claims, *self._conversation.texts], self._conversation.fixed_texts
        session, fixed = Register(policy), Register(policy)
        await aside(sum(map(len, texts)), session.read, texts)
        await aside(sum(map(len, own)), fixed.read, own, fixed=True)
        return session, fixed

    def _with_agents(self, policy: PlaceholderPolicy) -> PlaceholderPolicy:
        """The policy with the tasks of sub-agents, which hide the same data from their models."""
        agents = {agent.tool: (EVERY,) for agent in self._deps.subagents.values()}
        return policy.model_copy(update={"tools": {**policy.tools, **agents}})
