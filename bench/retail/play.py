"""Plays a task's conversation against a running platform and judges where it ended."""

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
"""Of the customer's, after which the conversation is broken off."""


@dataclass(frozen=True)
class Turn:
    """What the customer said, what the agent answered, and how long it took, in seconds."""

    said: str
    answer: str
    run: Run
    seconds: float


@dataclass(frozen=True)
class Played:
    """A conversation that has ended. ``changes``: whether the task wants anything in the shop changed."""

    task: Task
    verdict: Verdict
    turns: tuple[Turn, ...]
    changes: bool


@dataclass(frozen=True)
class Player:
    """Plays one task at a time: before each, the shop is made as new.

    Args:
        client: of the platform.
        database: the shop's file among the tools' data, which this process must be able to write.
        shop: the image that it is made from.
        told: gets what the customer says and what the run then does, event by event.
    """

    client: Flightloop
    database: Path
    shop: bytes
    told: Callable[[str | RunEvent], None] = lambda what: None

    def play(self, task: Task) -> Played:
        """Leads the conversation in one session until the customer leaves.

        Raises:
            FlightloopError: the platform refuses a request.
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
                break  # a person goes on
            said = customer.reply(answer)
        return turns
