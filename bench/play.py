"""Plays a task's customer against a running platform, and checks the final state of the shop."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.evals.databases import prepare
from agent.evals.judging import Judgement, judge
from agent.evals.task import YES, Task, TaskError
from agent.evals.transcript import Exchange, Transcript
from examples.support.shop.seed import reseed
from flightloop import Flightloop
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, RunEvent
from flightloop.runs import Run
from flightloop.subject import Subject

OPERATOR = "decided by the task runner, as the task says"


@dataclass(frozen=True)
class Played:
    """A finished task. ``turn_seconds``: wall-clock time of each of the customer's turns."""

    task: Task
    judgement: Judgement  # whether the shop's final state is right
    exchanges: tuple[Exchange, ...]  # the customer's messages with the runs that answered them
    turn_seconds: tuple[float, ...]

    @property
    def runs(self) -> list[Run]:
        return [one.run for one in self.exchanges]


@dataclass(frozen=True)
class Player:
    """Plays one task at a time, each with a fresh shop.

    Args:
        client: client of the platform.
        database: the shop's file in the platform's home, writable for this process.
        told: called with each of the customer's messages and each event of the runs.
    """

    client: Flightloop
    database: Path
    told: Callable[[str | RunEvent], None] = lambda what: None

    def play(self, task: Task) -> Played:
        """Sends the task's turns in one session, each after the previous one was answered.

        Raises:
            TaskError: the task has invalid SQL, recorded results, files, expectations of a turn, or another database
                than the shop's.
            FlightloopError: the platform rejects a request.
        """
        task = self._on_the_shop(task)
        reseed(self.database)
        prepare(self.database.parent, task)
        session = f"task-{task.id}-{uuid.uuid4().hex[:8]}"
        exchanges: list[Exchange] = []
        seconds: list[float] = []
        answer = ""
        for turn in task.turns:
            said = turn.text(answer)
            self.told(said)
            events: list[RunEvent] = []

            def heard(event: RunEvent, events: list[RunEvent] = events) -> None:
                events.append(event)
                self.told(event)

            for count in itertools.count():
                began = time.perf_counter()
                run = say(self.client, task.agent, session, said, heard, approve=task.approve, subject=task.subject)
                seconds.append(time.perf_counter() - began)
                exchanges.append(Exchange(run, tuple(events)))
                events.clear()
                if not task.says_yes(run, count):
                    break
                said = YES
                self.told(said)
            answer = text_of(run.output or [])
        judgement = judge(self.database.parent, task, Transcript.of(exchanges))
        self.client.runs.outcome(exchanges[-1].run.id, solved=judgement.solved)
        return Played(task, judgement, tuple(exchanges), tuple(seconds))

    def _on_the_shop(self, task: Task) -> Task:
        """The task with the shop as its database, since only the shop is recreated before each task."""
        if task.recorded is not None:
            raise TaskError(f"task {task.id}: has recorded results; use 'python -m agent eval'")
        if any(turn.table or turn.image for turn in task.turns):
            raise TaskError(f"task {task.id}: sends a table or an image; use 'python -m agent eval'")
        if any(turn.expects for turn in task.turns):
            raise TaskError(f"task {task.id}: a turn has expectations; use 'python -m agent eval'")
        shop = self.database.name
        for name in (task.database, *(expectation.database for expectation in task.expect)):
            if name not in (None, shop):
                raise TaskError(f"task {task.id}: database: {name} is not the shop's; use 'python -m agent eval'")
        return task.model_copy(update={"database": shop})


def say(
    client: Flightloop,
    agent: str,
    session: str,
    said: str,
    told: Callable[[RunEvent], None] = lambda event: None,
    *,
    approve: bool = True,
    subject: Subject | None = None,
) -> Run:
    """Sends one of the customer's turns. Returns its run, once it has ended.

    Args:
        approve: the operator's decision on every approval.
        subject: the customer who is signed in; None: nobody is.

    Raises:
        FlightloopError: the platform rejects a request.
    """
    run = client.runs.create(agent=agent, input=said, session_id=session, subject=subject)
    for event in client.runs.stream(run.id):
        told(event)
        if isinstance(event, ApprovalRequested):
            decision: Literal["approve", "deny"] = "approve" if approve else "deny"
            client.approvals.decide(event.approval_id, decision=decision, reason=OPERATOR)
    return client.runs.get(run.id)
