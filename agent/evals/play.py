"""Plays tasks in this process: the project's agents, tools and policies as they are, data and journal of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.budgets import Prices
from agent.chat_model import ChatModel
from agent.compose import local_lookup
from agent.evals.judging import ending, judge, prepare
from agent.evals.recording import Recording
from agent.evals.task import Call, Task, TaskError
from agent.gate import Hosts
from agent.history import History
from agent.journal import new_id
from agent.kits import Guards, Kit, OwnedHosts, kit_of
from agent.project import Project
from agent.solo import Operator, Solo, agrees
from agent.store import memory_journal
from flightloop.content import text_of
from flightloop.events import RunCreated
from flightloop.runs import Run, RunStatus
from guardrails.policy import Policy
from guardrails.types import Guarding
from tools.shop.database import FILE

NAME = "eval"
"""Who drives the runs, and agrees to each call that a policy puts to a person."""


@dataclass(frozen=True)
class Played:
    """A task that was played to its end. ``problems``: why it is not solved; ``off_the_record``: calls that a recorded
    task had no result for."""

    task: Task
    where: str
    problems: tuple[str, ...]
    runs: tuple[Run, ...]
    calls: tuple[Call, ...]
    off_the_record: int = 0

    @property
    def solved(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Model:
    """The model that is evaluated, by its name there."""

    chat: ChatModel
    name: str
    prices: Prices = field(default_factory=Prices)


class Player:
    """Plays one task at a time, each in a folder of data and a journal that are gone afterwards.

    Args:
        make_hosts: hosts that perform the project's tools on data in a folder; started with the first task that needs
            them.
        make_guard: compiles a policy.
        fill: puts into a task's data folder what is there before its setup.
    """

    def __init__(
        self,
        project: Project,
        model: Model,
        make_hosts: Callable[[Project, Path], OwnedHosts],
        make_guard: Callable[[Policy], Guarding],
        fill: Callable[[Path], None],
    ) -> None:
        self._project = project
        self._model = model
        self._make_hosts = make_hosts
        self._guards = Guards(make_guard)
        self._fill = fill
        self._hosts: Hosts | None = None
        self._stack = AsyncExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="flightloop-eval-"))).resolve()

    async def __aenter__(self) -> Player:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def play(self, task: Task, where: str) -> Played:
        """Says the task's turns in one session, each after the answer to the one before.

        SQL that is wrong counts as a problem of this task: the others are still worth playing.

        Raises:
            NotFound: the project has no such agent.
        """
        with TemporaryDirectory(dir=self._folder) as folder:
            data = Path(folder)
            self._fill(data)
            try:
                prepare(data / FILE, task)
            except TaskError as error:
                return Played(task, where, (f"{where}: {error}",), (), ())
            if task.recorded is None:
                return await self._converse(task, where, data, await self._performing(), agrees)
            recording = Recording(self._project.registry, task.recorded)
            played = await self._converse(task, where, data, recording, recording.operator)
            return replace(played, off_the_record=recording.off_the_record)

    async def _converse(self, task: Task, where: str, data: Path, hosts: Hosts, operator: Operator) -> Played:
        agent, lookup = self._project.agent(task.agent), local_lookup(data)

        def kit(run: Run) -> Kit:
            return kit_of(self._project, run, hosts, self._guards, lookup, recorded=task.recorded is not None)

        solo = Solo(memory_journal(), kit, data, NAME, self._model.prices)
        session, answers = new_id("ses"), [""]
        runs: list[Run] = []
        calls: list[Call] = []
        for turn in task.turns:
            created = RunCreated(
                agent=agent.name,
                session_id=session,
                input=turn.text(answers[-1]),
                budget=agent.budget.budget(),
                policy_sha256=self._project.policy_of(agent).sha256,
            )
            driven = await solo.run(created, self._model.chat, self._model.name, operator)
            runs.append(driven.run)
            calls += calls_of(driven.book.history)
            answers.append(text_of(driven.run.output or []))
        return Played(task, where, _problems(task, where, data / FILE, answers, calls, runs), tuple(runs), tuple(calls))

    async def _performing(self) -> Hosts:
        if self._hosts is None:
            hosts = self._make_hosts(self._project, self._folder)
            self._stack.push_async_callback(hosts.close)
            self._hosts = await hosts.__aenter__()
        return self._hosts


def calls_of(history: History) -> list[Call]:
    """The calls of a run that were let through, in order."""
    intents = (state.intent for turn in history.turns for state in turn.calls)
    return [Call(tool=intent.tool, arguments=intent.arguments) for intent in intents if intent is not None]


def _problems(
    task: Task, where: str, database: Path, answers: list[str], calls: list[Call], runs: list[Run]
) -> tuple[str, ...]:
    try:
        problems = judge(database, answers, task, calls, runs[-1]).problems
    except TaskError as error:
        problems = (f"{where}: {error}",)
    told = task.ends is not None or runs[-1].status is RunStatus.SUCCEEDED
    return problems if told or not problems else (*problems, ending(runs[-1]))
