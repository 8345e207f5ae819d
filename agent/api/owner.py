"""A completion as the owner of its model call: its tenant's bounds, the audit log, and what it used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from agent.api.deps import ApiDeps
from agent.budgets import Exhausted, Reservation, Shared
from agent.journal import new_id
from agent.ledger import Completion
from agent.model_call.call import GuardedCall
from flightloop.chat import ChatRequest, Tags, Usage
from flightloop.errors import BudgetExhausted
from flightloop.usage import Amounts
from flightloop.verdicts import Verdict

LONGEST = 4096
"""Tokens of an answer whose request has no limit, from a model that tells no context length."""


class CompletionOwner:
    """Implements ``agent.model_call.call.Owner``."""

    def __init__(self, deps: ApiDeps, tags: Tags) -> None:
        self._deps = deps
        self._completion = Completion(new_id("cmpl"), tags.tenant_id, tags.session_id, deps.name)

    async def reserve(self, call: GuardedCall) -> ChatRequest:
        """Raises BudgetExhausted."""
        deps, completion = self._deps, self._completion
        # Seconds are those of runs: no worker is held by a completion.
        bound = deps.tenants.of(completion.tenant_id).model_copy(update={"seconds": None})
        shared = Shared(tenant=bound, window=deps.tenants.window)
        wanted = Reservation(call.prompt_tokens, self._longest(call))
        if not shared.hold(wanted):
            return call.request
        try:
            granted = await deps.journal.ledger.reserve_completion(completion, wanted, deps.prices, shared)
        except Exhausted as error:
            now = datetime.now(UTC)
            until = deps.tenants.window.until(now)
            told = f"{error.message}; there is more from {until:%Y-%m-%d %H:%M} UTC on, or once the bound is raised"
            raise BudgetExhausted(told, retry_after=(until - now).total_seconds()) from None
        return call.request.model_copy(update={"max_tokens": granted.completion_tokens, "max_completion_tokens": None})

    async def settle(self, call: GuardedCall) -> None:
        used = self._used(call) if call.spent else Amounts()
        await self._deps.journal.ledger.settle(self._completion, used)

    async def judged(self, verdicts: Sequence[Verdict]) -> None:
        await self._deps.journal.record(self._completion.tenant_id, verdicts)

    def _longest(self, call: GuardedCall) -> int:
        if call.request.token_limit is not None:
            return call.request.token_limit
        length = self._deps.model.capabilities.context_length
        return LONGEST if length is None else max(1, length - call.prompt_tokens)

    def _used(self, call: GuardedCall) -> Amounts:
        """Of an answer that was broken off, an estimate."""
        answer = call.answer
        usage = answer.usage or Usage(prompt_tokens=call.prompt_tokens, completion_tokens=answer.tokens)
        tokens = usage.prompt_tokens + usage.completion_tokens
        return Amounts(steps=1, tokens=tokens, cost=self._deps.prices.cost(usage))
