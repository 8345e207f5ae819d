"""Owner of a completion's model calls: tenant budget, audit log, usage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from agent.api.deps import ApiDeps
from agent.model_call.call import GuardedCall
from agent.run.budgets import Exhausted, Reservation, Shared
from agent.run.journal import new_id
from agent.run.ledger import Completion
from flightloop.chat import ChatRequest, Tags, Usage
from flightloop.errors import BudgetExhausted
from flightloop.runs import Budget
from flightloop.usage import Amounts
from flightloop.verdicts import Verdict

LONGEST = 4096
"""Tokens reserved for an answer if neither the request nor the model's context length limits it."""


class CompletionOwner:
    """Implements ``agent.model_call.call.Owner`` for the concurrent calls of one completion.

    Usage of all calls is reserved before the first begins and settled after the last has ended.

    Args:
        calls: number of calls, one per choice.
    """

    def __init__(self, deps: ApiDeps, tags: Tags, calls: int = 1) -> None:
        self._deps = deps
        self._completion = Completion(new_id("cmpl"), tags.tenant_id, tags.session_id, deps.name, tags.subject)
        self._calls = calls
        self._open = calls
        self._used = Amounts()
        self._lock = asyncio.Lock()
        self._reserved = False
        self._most: int | None = None
        """Maximum tokens per answer under the tenant's budget; None: unlimited."""

    async def reserve(self, call: GuardedCall) -> ChatRequest:
        """Reserves for all calls together when the first begins. Raises BudgetExhausted."""
        async with self._lock:
            if not self._reserved:
                self._most = await self._reserve_all(call)
                self._reserved = True
        if self._most is None:
            return call.request
        return call.request.model_copy(update={"max_tokens": self._most, "max_completion_tokens": None})

    async def settle(self, call: GuardedCall) -> None:
        self._used += self._used_by(call) if call.spent else Amounts()
        self._open -= 1
        if not self._open:
            await self._deps.journal.ledger.settle(self._completion, self._used)

    async def close(self) -> None:
        """Settles the reservation of calls that were cancelled before they began."""
        if self._open:
            self._open = 0
            await self._deps.journal.ledger.settle(self._completion, self._used)

    async def _reserve_all(self, call: GuardedCall) -> int | None:
        deps, completion = self._deps, self._completion
        # Budgeted seconds only apply to runs: a completion occupies no worker.
        bound = deps.tenants.of(completion.tenant_id).model_copy(update={"seconds": None})
        each = deps.tenants.subject if completion.subject is not None else Budget()
        shared = Shared(subject=each.model_copy(update={"seconds": None}), tenant=bound, window=deps.tenants.window)
        count = self._calls
        wanted = Reservation(count * call.prompt_tokens, count * self._longest(call), steps=count)
        if not shared.hold(wanted):
            return None
        try:
            granted = await deps.journal.ledger.reserve_completion(completion, wanted, deps.prices, shared)
        except Exhausted as error:
            raise self._exhausted(error.message) from None
        if granted.completion_tokens < count:
            several = f" for n={count} choices: reduce n" if count > 1 else ""
            raise self._exhausted(f"{granted.completion_tokens} tokens are left{several}")
        return granted.completion_tokens // count

    def _exhausted(self, told: str) -> BudgetExhausted:
        now = datetime.now(UTC)
        until = self._deps.tenants.window.until(now)
        told = f"{told}; more is available from {until:%Y-%m-%d %H:%M} UTC, or once the budget is raised"
        return BudgetExhausted(told, retry_after=(until - now).total_seconds())

    async def judged(self, verdicts: Sequence[Verdict]) -> None:
        await self._deps.journal.record(self._completion.tenant_id, verdicts)

    def _longest(self, call: GuardedCall) -> int:
        if call.request.token_limit is not None:
            return call.request.token_limit
        length = self._deps.model.capabilities.context_length
        return LONGEST if length is None else max(1, length - call.prompt_tokens)

    def _used_by(self, call: GuardedCall) -> Amounts:
        """Usage of a call; estimated if the answer was interrupted."""
        answer = call.answer
        usage = answer.usage or Usage(prompt_tokens=call.prompt_tokens, completion_tokens=answer.tokens)
        tokens = usage.prompt_tokens + usage.completion_tokens
        return Amounts(steps=1, tokens=tokens, cost=self._deps.prices.cost(usage))
