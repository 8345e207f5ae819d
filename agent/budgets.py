"""Budgets: what a run may still use, reserved before each model call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.run import RunState
from flightloop.chat import Usage
from flightloop.runs import Budget, RunUsage, StopReason


@dataclass(frozen=True)
class Prices:
    """Euros for a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Reservation:
    """What the next model call may use at most."""

    completion_tokens: int
    seconds: float | None


class Exhausted(Exception):
    """A bound leaves no room for another call; ``reason`` is one of the budget's stop reasons."""

    def __init__(self, reason: StopReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def resolve(agent: Budget, asked: Budget) -> Budget:
    """A run's own bounds: the agent's, lowered where the client asked for less."""
    lower = {}
    for name in Budget.model_fields:
        bounds = [bound for bound in (getattr(agent, name), getattr(asked, name)) if bound is not None]
        lower[name] = min(bounds) if bounds else None
    return Budget(**lower)


def reserve(state: RunState, now: datetime, prompt_tokens: int, completion_tokens: int, prices: Prices) -> Reservation:
    """Room for one model call, its answer shortened to what the bounds leave.

    Args:
        prompt_tokens: estimate of the request's length.
        completion_tokens: the longest answer wanted.

    Raises:
        Exhausted: not even an answer of one token fits.
    """
    budget, usage = state.run.budget, state.run.usage
    if budget.steps is not None and usage.steps >= budget.steps:
        raise Exhausted(StopReason.BUDGET_STEPS, f"the run has used its {budget.steps} steps")
    room = completion_tokens
    if budget.tokens is not None:
        room = min(room, budget.tokens - usage.tokens - prompt_tokens)
        if room < 1:
            used = f"{usage.tokens} of {budget.tokens} tokens are used and the next call needs about {prompt_tokens}"
            raise Exhausted(StopReason.BUDGET_TOKENS, used)
    room = min(room, _affordable(budget, usage, prompt_tokens, prices, room))
    if room < 1:
        raise Exhausted(StopReason.BUDGET_COST, f"{usage.cost:.6f} of {budget.cost:.6f} euros are used")
    return Reservation(room, seconds_left(state, now))


def seconds_left(state: RunState, now: datetime) -> float | None:
    """Seconds that the run may still be held; None without a bound. Raises Exhausted at none."""
    bound = state.run.budget.seconds
    if bound is None:
        return None
    held = (now - state.held_at).total_seconds() if state.held_at else 0.0
    left = bound - state.run.usage.seconds - max(0.0, held)
    if left <= 0:
        raise Exhausted(StopReason.BUDGET_SECONDS, f"the run has used its {bound:g} seconds")
    return left


def _affordable(budget: Budget, usage: RunUsage, prompt_tokens: int, prices: Prices, room: int) -> int:
    """How many completion tokens the cost's bound leaves, at most ``room``."""
    if budget.cost is None:
        return room
    left = (budget.cost - usage.cost) * 1e6 - prompt_tokens * prices.prompt
    if prices.completion == 0:
        return room if left >= 0 else 0
    return min(room, int(left / prices.completion))
