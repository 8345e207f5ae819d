"""Measures how many conversations per day are served fast enough if customers arrive at random times."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from rich.console import Console

from agent.evals.task import YES, Task
from bench.play import OPERATOR
from bench.rows import Row, percentile_95
from flightloop import AsyncFlightloop
from flightloop.content import text_of
from flightloop.events import ApprovalRequested

PATIENCE_S = 4.0
"""Highest permitted 95th percentile of a turn, in seconds."""
WINDOW_S, LEAST = 60.0, 20
"""Duration of a window with constant arrival rate, in seconds, and minimum number of customers in it."""
FIRST_RATE = 0.5
"""First arrival rate, in conversations per second."""
STEPS = 6
MOST_WAITING = 64
"""If this many conversations are open at once, the rate is too high, however long turns take."""
SECONDS_A_DAY = 86_400
MANY = 100_000
"""Conversations a day for which the note says how many replicas take them."""
SEED = 11


@dataclass(frozen=True)
class Crowd:
    """Outcome of a window at one rate. ``seconds``: duration of each turn; ``overrun``: too many were open at once."""

    rate: float
    seconds: tuple[float, ...]
    overrun: bool = False

    @property
    def p95(self) -> float:
        return percentile_95(self.seconds)

    @property
    def served(self) -> bool:
        return not self.overrun and self.p95 <= PATIENCE_S


async def measure(client: AsyncFlightloop, tasks: Sequence[Task], console: Console) -> Row:
    """The row ``support_per_day``: the highest rate found at which turns are fast enough.

    No task is played twice until all have been: a conversation that the model has read before is faster.

    Raises:
        FlightloopError: the platform rejects a request.
    """
    random = Random(SEED)
    customers = itertools.cycle(random.sample(tasks, len(tasks)))

    async def at(rate: float) -> Crowd:
        crowd = await come(client, customers, rate, random)
        told = "too many at once" if crowd.overrun else f"p95 of a turn {crowd.p95:.2f} s"
        console.print(f"{rate:.3f} conversations/s: {told}, {len(crowd.seconds)} turns", style="dim", highlight=False)
        return crowd

    best = await highest(at)
    note = f"95 % of the turns within {PATIENCE_S:g} s, customers come at random (Poisson), windows of {WINDOW_S:g} s"
    if best is None:
        return Row("support_per_day", 0, "conversations", note=note)
    day = best.rate * SECONDS_A_DAY
    note += f"; p95 {best.p95:.2f} s; {MANY:,} a day take {math.ceil(MANY / day)} such machines"
    return Row("support_per_day", day, "conversations", note=note)


async def highest(
    at: Callable[[float], Awaitable[Crowd]], first: float = FIRST_RATE, steps: int = STEPS
) -> Crowd | None:
    """Searches for the highest rate at which turns are fast enough, and returns its crowd; None if there is none.

    Doubles the rate until it is too high, or halves it until it isn't, and then bisects.
    """
    best: Crowd | None = None
    too_high: float | None = None
    rate = first
    for _ in range(steps):
        crowd = await at(rate)
        if crowd.served:
            best = crowd
        else:
            too_high = rate
        low = best.rate if best else 0.0
        rate = low * 2 if too_high is None else (low + too_high) / 2
    return best


async def come(client: AsyncFlightloop, customers: Iterator[Task], rate: float, random: Random) -> Crowd:
    """Lets customers arrive for a window, and waits for the last conversation to end."""
    waiting: set[asyncio.Task[None]] = set()
    seconds: list[float] = []
    came, ends = 0, time.perf_counter() + WINDOW_S
    async with asyncio.TaskGroup() as group:
        while (came < LEAST or time.perf_counter() < ends) and len(waiting) < MOST_WAITING:
            came += 1
            customer = group.create_task(_converse(client, next(customers), seconds))
            waiting.add(customer)
            customer.add_done_callback(waiting.discard)
            await asyncio.sleep(random.expovariate(rate))
        overrun = len(waiting) >= MOST_WAITING
    return Crowd(rate, tuple(seconds), overrun)


async def _converse(client: AsyncFlightloop, task: Task, seconds: list[float]) -> None:
    """Plays one customer: sends each turn of the task as soon as the previous one is answered."""
    session = f"load-{task.id}-{uuid.uuid4().hex[:8]}"
    answer = ""
    for turn in task.turns:
        said = turn.text(answer)
        for count in itertools.count():
            began = time.perf_counter()
            run = await client.runs.create(agent=task.agent, input=said, session_id=session, subject=task.subject)
            async for event in client.runs.stream(run.id):
                if isinstance(event, ApprovalRequested):
                    decision: Literal["approve", "deny"] = "approve" if task.approve else "deny"
                    await client.approvals.decide(event.approval_id, decision=decision, reason=OPERATOR)
            seconds.append(time.perf_counter() - began)
            run = await client.runs.get(run.id)
            if not task.says_yes(run, count):
                break
            said = YES
        answer = text_of(run.output or [])
