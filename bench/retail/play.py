"""Plays a task's conversation against a running platform, and judges its end state."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.play import say
from bench.retail.customer import Customer
from bench.retail.documents import renew, state
from bench.retail.judge import Verdict, judge, replay
from bench.retail.project import AGENT
from bench.retail.tasks import Task
from flightloop import Flightloop
from flightloop.content import text_of
from flightloop.events import RunEvent
from flightloop.runs import Run, StopReason

MOST_TURNS = 16
"""Maximum number of turns of the customer; then the conversation ends."""


@dataclass(frozen=True)
class Turn:
    """What the customer said, the agent's answer, its run, and the duration in seconds."""

    said: str
    answer: str
    run: Run
    seconds: float


@dataclass(frozen=True)
class Played:
    """A finished conversation. ``changes``: whether the task requires changes in the shop."""

    task: Task
    verdict: Verdict
    turns: tuple[Turn, ...]
    changes: bool


@dataclass(frozen=True)
class Player:
    """Plays one task at a time, each with a fresh shop.

    Args:
        client: client of the platform.
        database: the shop's file in the folder of tool data, writable for this process.
        shop: image of the fresh shop.
        told: called with each of the customer's messages and each event of the runs.
    """

    client: Flightloop
    database: Path
    shop: bytes
    told: Callable[[str | RunEvent], None] = lambda what: None

    def play(self, task: Task) -> Played:
        """Holds the conversation in one session until the customer leaves.

        Raises:
            FlightloopError: the platform rejects a request.
        """
        gold = replay(self.shop, task.actions)
        renew(self.database, self.shop)
        turns = self._converse(task)
        verdict = judge(state(self.database), [turn.answer for turn in turns], gold, task)
        self.client.runs.outcome(turns[-1].run.id, solved=verdict.solved)
        return Played(task, verdict, tuple(turns), bool(gold.changed))

    def _converse(self, task: Task) -> list[Turn]:
        session = f"retail-{task.id}-{uuid.uuid4().hex[:8]}"
        customer = Customer.of(task.instructions)
        said: str | None = customer.opening
        turns: list[Turn] = []
        while said is not None and len(turns) < MOST_TURNS:
            self.told(said)
            began = time.perf_counter()
            run = say(self.client, AGENT, session, said, self.told)
            answer = text_of(run.output or [])
            turns.append(Turn(said, answer, run, time.perf_counter() - began))
            if run.stop_reason is StopReason.ESCALATED:
                break  # a person takes over
            said = customer.reply(answer)
        return turns
