"""Budgets: limits on steps, tokens, seconds and cost, reserved before each model call.

A run has its own budget and shares those of its session and its tenant with other runs (``agent.run.ledger``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from agent.run.state import RunState
from flightloop.chat import Usage
from flightloop.runs import Budget, Run, StopReason
from flightloop.usage import Amounts

Whose = Literal["run", "session", "subject", "tenant"]


@dataclass(frozen=True)
class Prices:
    """Euros per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Reservation:
    """Maximum usage of the next model call: first as requested, then as limited by the budgets."""

    prompt_tokens: int = 0
    """Estimated length of the request."""
    completion_tokens: int = 0
    """Maximum length of the answer."""
    seconds: float | None = None
    """Seconds for which the run may still be leased; None: unlimited."""
    steps: int = 1
    """1 for a model call; 0 reserves time only."""
    late: StopReason = StopReason.BUDGET_SECONDS
    """Stop reason of the run if ``seconds`` run out."""

    def amounts(self, prices: Prices) -> Amounts:
        usage = Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)
        tokens = self.prompt_tokens + self.completion_tokens
        return Amounts(steps=self.steps, tokens=tokens, seconds=self.seconds or 0.0, cost=prices.cost(usage))


class Exhausted(Exception):
    """A budget leaves no room for another call. ``reason`` is one of the budget's stop reasons."""

    def __init__(self, reason: StopReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Window(StrEnum):
    """Calendar period of a tenant's budget, in UTC."""

    DAY = "day"
    MONTH = "month"

    def since(self, now: datetime) -> datetime:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight if self is Window.DAY else midnight.replace(day=1)

    def until(self, now: datetime) -> datetime:
        longest = timedelta(days=1 if self is Window.DAY else 31)
        return self.since(self.since(now) + longest)


@dataclass(frozen=True)
class Shared:
    """Budgets that a call shares with other calls."""

    session: Budget = field(default_factory=Budget)
    subject: Budget = field(default_factory=Budget)
    tenant: Budget = field(default_factory=Budget)
    window: Window = Window.DAY

    def hold(self, wanted: Reservation) -> bool:
        """Whether a shared budget limits this reservation."""
        bounds = (self.session, self.subject, self.tenant)
        return any(bound.seconds is not None or (wanted.steps and bounded(bound)) for bound in bounds)


@dataclass(frozen=True)
class TenantBudgets:
    """Budgets of tenants, ``own`` by tenant and ``each`` for all others, and the budget of each of their subjects."""

    each: Budget = field(default_factory=Budget)
    own: Mapping[str, Budget] = field(default_factory=dict)
    window: Window = Window.DAY
    subject: Budget = field(default_factory=Budget)

    def of(self, tenant_id: str) -> Budget:
        return self.own.get(tenant_id, self.each)

    def shared_by(self, run: Run) -> Shared:
        subject = self.subject if run.subject is not None else Budget()
        return Shared(run.session_budget, subject, self.of(run.tenant_id), self.window)


def resolve(agent: Budget, asked: Budget) -> Budget:
    """A run's own budget: the agent's, lowered where the client asked for less."""
    lower = {}
    for name in Budget.model_fields:
        bounds = [bound for bound in (getattr(agent, name), getattr(asked, name)) if bound is not None]
        lower[name] = min(bounds) if bounds else None
    return Budget(**lower)


def bounded(budget: Budget) -> bool:
    return any(limit is not None for _, limit in budget)


def used_up(bound: Budget, used: Amounts) -> str | None:
    """Name of the first limit that is used up; None if there is none."""
    for name in Budget.model_fields:
        limit = getattr(bound, name)
        if limit is not None and getattr(used, name) >= limit:
            return name
    return None


def reserve(state: RunState, now: datetime, prompt_tokens: int, completion_tokens: int, prices: Prices) -> Reservation:
    """Reserves one model call; its answer is shortened to what the run's own budget leaves.

    Args:
        prompt_tokens: estimated length of the request.
        completion_tokens: maximum length of the answer.

    Raises:
        Exhausted: not even an answer of one token fits.
    """
    return fit(Reservation(prompt_tokens, completion_tokens), state.run.budget, _taken(state, now), prices)


def seconds_left(state: RunState, now: datetime) -> float | None:
    """Seconds left in the run's own budget; None: unlimited. Raises Exhausted if none are left."""
    return _in_time(Reservation(steps=0), state.run.budget, _taken(state, now).seconds, "run").seconds


def share(state: RunState, now: datetime, agents: int, calls: int) -> Budget:
    """Budget of a sub-agent: a share of what the run's own budget leaves.

    Args:
        agents: sub-agents that work for the run at the same time.
        calls: all concurrent calls, including those of tools, because they use time too.

    Raises:
        Exhausted: nothing is left to share.
    """
    taken, left = _taken(state, now), {}
    for name, limit in state.run.budget:
        if limit is None:
            continue
        part = (limit - getattr(taken, name)) / (calls if name == "seconds" else agents)
        left[name] = int(part) if isinstance(limit, int) else part
        if left[name] < 0 or (name != "cost" and not left[name]):
            raise Exhausted(
                _reason("run", name), f"the run's {name} budget of {limit:g} has too little left for a sub-agent"
            )
    return Budget(**left)


def used(run: Run) -> Amounts:
    """Usage of the run and its sub-agents, without steps copied from the run it was forked from."""
    taken_over = run.origin.step if run.origin else 0
    return Amounts.of(run.usage) + Amounts.of(run.delegated) + Amounts(steps=-taken_over)


def _taken(state: RunState, now: datetime) -> Amounts:
    held = (now - state.held_at).total_seconds() if state.held_at else 0.0
    return used(state.run) + Amounts(seconds=max(0.0, held))


def fit(wanted: Reservation, bound: Budget, taken: Amounts, prices: Prices, whose: Whose = "run") -> Reservation:
    """Shortens a reservation to the amounts that a budget leaves.

    Args:
        taken: amounts that are already used, or reserved by others.

    Raises:
        Exhausted: not even an answer of one token fits, or no time is left.
    """
    if wanted.steps:
        wanted = _shortened(wanted, bound, taken, prices, whose)
    return _in_time(wanted, bound, taken.seconds, whose)


def _shortened(wanted: Reservation, bound: Budget, taken: Amounts, prices: Prices, whose: Whose) -> Reservation:
    how = "used" if whose == "run" else "used or reserved"
    if bound.steps is not None and taken.steps + wanted.steps > bound.steps:
        raise Exhausted(_reason(whose, "steps"), f"the {whose}'s {bound.steps} steps are {how}")
    room = wanted.completion_tokens
    if bound.tokens is not None:
        room = min(room, bound.tokens - taken.tokens - wanted.prompt_tokens)
        if room < 1:
            told = f"{taken.tokens} of the {whose}'s {bound.tokens} tokens are {how}"
            needed = f"the next call needs about {wanted.prompt_tokens}"
            raise Exhausted(_reason(whose, "tokens"), f"{told} and {needed}")
    room = min(room, _affordable(bound, taken, wanted.prompt_tokens, prices, room))
    if room < 1:
        told = f"{taken.cost:.6f} of the {whose}'s {bound.cost:.6f} euros are {how}"
        raise Exhausted(_reason(whose, "cost"), told)
    return replace(wanted, completion_tokens=room)


def _affordable(bound: Budget, taken: Amounts, prompt_tokens: int, prices: Prices, room: int) -> int:
    """Completion tokens that the cost limit allows, at most ``room``."""
    if bound.cost is None:
        return room
    left = (bound.cost - taken.cost) * 1e6 - prompt_tokens * prices.prompt
    if prices.completion == 0:
        return room if left >= 0 else 0
    return min(room, int(left / prices.completion))


def _in_time(wanted: Reservation, bound: Budget, taken_seconds: float, whose: Whose) -> Reservation:
    if bound.seconds is None:
        return wanted
    left = bound.seconds - taken_seconds
    if left <= 0:
        raise Exhausted(_reason(whose, "seconds"), f"the {whose} has used its {bound.seconds:g} seconds")
    if wanted.seconds is not None and wanted.seconds <= left:
        return wanted
    return replace(wanted, seconds=left, late=_reason(whose, "seconds"))


def _reason(whose: Whose, bound: str) -> StopReason:
    return StopReason(f"budget_{bound if whose == 'run' else whose}")
