"""The model's answer to a completion, within what its tenant may still use, and counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from agent.api.admission import Admitted
from agent.api.deps import ApiDeps
from agent.budgets import Exhausted, Reservation, Shared
from agent.context import Estimator, Prompt
from agent.journal import new_id
from agent.ledger import Completion
from flightloop.answer import Answer
from flightloop.chat import ChatChunk, ChatRequest, Usage
from flightloop.errors import BudgetExhausted, FlightloopError
from flightloop.usage import Amounts

LONGEST = 4096
"""Tokens of an answer whose request has no limit, from a model that tells no context length."""


async def metered(deps: ApiDeps, admitted: Admitted) -> AsyncGenerator[ChatChunk, None]:
    """The model's chunks. However the answer ends, what it used is counted.

    Raises:
        BudgetExhausted: the tenant's bounds leave no room for an answer.
        FlightloopError: what the model raises.
    """
    tags, request = admitted.tags, admitted.request
    completion = Completion(new_id("cmpl"), tags.tenant_id, tags.session_id, deps.name)
    prompt_tokens = Estimator().tokens(Prompt.asked(request.messages, request.tools or []))
    answer, begun = Answer(), False
    try:
        request = await _reserved(deps, completion, request, prompt_tokens)
        begun = True
        async with aclosing(deps.model.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                answer.add(chunk)
                yield chunk
    except FlightloopError:
        begun = answer.tokens > 0  # what the model refuses costs nothing
        raise
    finally:
        used = _used(deps, answer, prompt_tokens) if begun else Amounts()
        await deps.journal.ledger.settle(completion, used)


async def _reserved(deps: ApiDeps, completion: Completion, request: ChatRequest, prompt_tokens: int) -> ChatRequest:
    """The request, its answer shortened to what the tenant's bounds leave."""
    # Seconds are those of runs: no worker is held by a completion.
    bound = deps.tenants.of(completion.tenant_id).model_copy(update={"seconds": None})
    shared = Shared(tenant=bound, window=deps.tenants.window)
    wanted = Reservation(prompt_tokens, _longest(deps, request, prompt_tokens))
    if not shared.hold(wanted):
        return request
    try:
        granted = await deps.journal.ledger.reserve_completion(completion, wanted, deps.prices, shared)
    except Exhausted as error:
        now = datetime.now(UTC)
        until = deps.tenants.window.until(now)
        told = f"{error.message}; there is more from {until:%Y-%m-%d %H:%M} UTC on, or once the bound is raised"
        raise BudgetExhausted(told, retry_after=(until - now).total_seconds()) from None
    return request.model_copy(update={"max_tokens": granted.completion_tokens, "max_completion_tokens": None})


def _longest(deps: ApiDeps, request: ChatRequest, prompt_tokens: int) -> int:
    if request.token_limit is not None:
        return request.token_limit
    length = deps.model.capabilities.context_length
    return LONGEST if length is None else max(1, length - prompt_tokens)


def _used(deps: ApiDeps, answer: Answer, prompt_tokens: int) -> Amounts:
    """Of an answer that was broken off, an estimate."""
    usage = answer.usage or Usage(prompt_tokens=prompt_tokens, completion_tokens=answer.tokens)
    tokens = usage.prompt_tokens + usage.completion_tokens
    return Amounts(steps=1, tokens=tokens, cost=deps.prices.cost(usage))
