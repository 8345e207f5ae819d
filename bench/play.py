"""Plays a task's customer against a running platform and checks where the shop ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.evals.judging import Judgement, judge, prepare
from agent.evals.task import Call, Task, TaskError
from flightloop import Flightloop
from flightloop.content import text_of
from flightloop.events import ApprovalRequested, RunEvent, ToolIntent
from flightloop.runs import Run
from tools.shop.seed import reseed

OPERATOR = "approved by the task runner: every task is played with an operator who agrees"


@dataclass(frozen=True)
class Played:
    """A task that was played to its end. ``turn_seconds``: wall time of each of the customer's turns."""

    task: Task
    judgement: Judgement
    runs: tuple[Run, ...]
    turn_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Player:
    """Plays one task at a time: before each, the shop is made as new.

    Args:
        client: of the platform.
        database: the shop's file in the platform's home, which this process must be able to write.
        told: gets what the customer says and what the run then does, event by event.
    """

    client: Flightloop
    database: Path
    told: Callable[[str | RunEvent], None] = lambda what: None

    def play(self, task: Task) -> Played:
        """Says the task's turns in one session, each after the answer to the one before.

        Raises:
            TaskError: the task's SQL is wrong, or its results are recorded: here tools are performed.
            FlightloopError: the platform refuses a request.
        """
        if task.recorded is not None:
            raise TaskError(f"task {task.id}: has recorded results; 'python -m agent eval' plays it")
        reseed(self.database)
        prepare(self.database, task)
        session = f"task-{task.id}-{uuid.uuid4().hex[:8]}"
        answers: list[str] = []
        runs: list[Run] = []
        seconds: list[float] = []
        calls: list[Call] = []

        def heard(event: RunEvent) -> None:
            if isinstance(event, ToolIntent):
                calls.append(Call(tool=event.tool, arguments=event.arguments))
            self.told(event)

        for turn in task.turns:
            said = turn.text(answers[-1] if answers else "")
            self.told(said)
            began = time.perf_counter()
            run = say(self.client, task.agent, session, said, heard)
            seconds.append(time.perf_counter() - began)
            runs.append(run)
            answers.append(text_of(run.output or []))
        judgement = judge(self.database, answers, task, calls, runs[-1])
        self.client.runs.outcome(runs[-1].id, solved=judgement.solved)
        return Played(task, judgement, tuple(runs), tuple(seconds))


def say(
    client: Flightloop, agent: str, session: str, said: str, told: Callable[[RunEvent], None] = lambda event: None
) -> Run:
    """One of the customer's turns: the run that it starts, once it has ended. The operator agrees to every approval.

    Raises:
        FlightloopError: the platform refuses a request.
    """
    run = client.runs.create(agent=agent, input=said, session_id=session)
    for event in client.runs.stream(run.id):
        told(event)
        if isinstance(event, ApprovalRequested):
            client.approvals.decide(event.approval_id, decision="approve", reason=OPERATOR)
    return client.runs.get(run.id)
