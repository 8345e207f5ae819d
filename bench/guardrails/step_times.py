"""Rows ``rails_p50_ms``, ``rails_p99_ms`` and the same with a guard model behind a URL: what the guard adds to a step.

The support project's tasks are played under its policy, with plans and subjects' bindings, by a model that makes the
right calls. A step is a decision of the model with all that the guard does around it: the tools that it narrows, the
call or plan, the result, and the answer word by word. The rails don't read the model's states, so an own model and a
remote one take the same time. What a remote guard model adds is measured with an endpoint in a process of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from agent.config import Settings
from agent.serve.garbage_collection import settle
from agent.serve.moderation import make_moderate
from bench.guardrails.endpoint import endpoint
from bench.guardrails.injected_writes import Setting, Shop
from bench.rows import Row
from flightloop.chat import ToolDef
from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import Policy, policy_of
from guardrails.rail_entries import ModerationEntry
from guardrails.types import Checked, GuardContext, Guarding, GuardStream, Ruling

ANSWER = (
    "I have looked at your order. It was placed on 3 May, costs 23.80 EUR and has not left our house yet. You can still"
    " cancel it or have it sent elsewhere until it does; after that, you have 30 days to send it back. Refunds go back"
    " the way you paid, within five working days. Is there anything else that I can do for you?"
)


async def step_times() -> list[Row]:
    """Times of a step in milliseconds, without and with a guard model behind a URL."""
    own = await _steps(Guard)
    with endpoint() as url:
        asked = partial(Guard, moderate=make_moderate(Settings()))
        remote = await _steps(lambda policy: asked(_moderated(policy, url)))
    return [*_rows("rails", own, "support policy"), *_rows("rails_remote", remote, "and an endpoint at four stages")]


def _rows(name: str, steps: Sequence[float], note: str) -> list[Row]:
    shares = statistics.quantiles(steps, n=100)
    told = f"{len(steps)} steps; {note}"
    return [
        Row(f"{name}_p50_ms", 1000 * shares[49], "ms", higher_is_better=False, note=told),
        Row(f"{name}_p99_ms", 1000 * shares[98], "ms", higher_is_better=False, note=told),
    ]


async def _steps(guard: Callable[[Policy], Guarding]) -> list[float]:
    """Seconds that the guard takes in each step of all tasks."""
    steps: list[float] = []
    with Shop(lambda policy: Timed(guard(policy), steps), ANSWER) as shop:
        settle()  # as every process of the platform does once it has started
        await shop.served(Setting())
    return steps


def _moderated(policy: Policy, url: str) -> Policy:
    """The policy with the endpoint at every stage that has whole texts or calls."""
    document = policy.document
    entry = ModerationEntry(rail="moderation", url=url, per_minute=1_000_000)
    stages = {
        stage.value: (found := document.stages.of(stage)).model_copy(update={"rails": (*found.rails, entry)})
        for stage in (Stage.INPUT, Stage.TOOL_CALL, Stage.TOOL_RESULT, Stage.FINAL)
    }
    return policy_of(document.model_copy(update={"stages": document.stages.model_copy(update=stages)}))


class Timed:
    """A guard that adds up its time for each step. Implements ``guardrails.types.Guarding``."""

    def __init__(self, guard: Guarding, steps: list[float]) -> None:
        self._guard = guard
        self._steps = steps
        self._begun = False  # whether the run's first step has begun, with the check of the input

    @property
    def policy(self) -> Policy:
        return self._guard.policy

    async def check(self, checked: Checked) -> Ruling:
        began = time.perf_counter()
        ruling = await self._guard.check(checked)
        if checked.stage is Stage.INPUT:
            self._begun = False
            self._begin()
            self._begun = True
        self.took(began)
        return ruling

    async def narrow(
        self, tools: Sequence[ToolDef], context: GuardContext, writes: frozenset[str] = frozenset()
    ) -> list[ToolDef]:
        began = time.perf_counter()
        narrowed = await self._guard.narrow(tools, context, writes)
        self._begin()  # every decision begins with it
        self.took(began)
        return narrowed

    def stream(self, context: GuardContext) -> GuardStream:
        began = time.perf_counter()
        stream = self._guard.stream(context)
        self.took(began)
        return TimedStream(stream, self)

    def took(self, began: float) -> None:
        self._steps[-1] += time.perf_counter() - began

    def _begin(self) -> None:
        if not self._begun:
            self._steps.append(0.0)
        self._begun = False


class TimedStream:
    """A stream of a timed guard. Implements ``guardrails.types.GuardStream``."""

    def __init__(self, stream: GuardStream, guard: Timed) -> None:
        self._stream = stream
        self._guard = guard

    def push(self, text: str) -> str:
        began = time.perf_counter()
        released = self._stream.push(text)
        self._guard.took(began)
        return released

    def finish(self) -> str:
        began = time.perf_counter()
        released = self._stream.finish()
        self._guard.took(began)
        return released

    def ruling(self) -> Ruling:
        began = time.perf_counter()
        ruling = self._stream.ruling()
        self._guard.took(began)
        return ruling
