"""Runs tasks in this process with the project's agents, tools and policies, but a separate journal and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.attachments.images import Images
from agent.evals.attaching import input_of
from agent.evals.databases import prepare
from agent.evals.judging import ending, judge, judge_turn
from agent.evals.recording import Recording
from agent.evals.task import YES, Task, TaskError, Turn
from agent.evals.transcript import Exchange, Transcript
from agent.loop.agent_runtime import AgentRuntime, OwnedHosts, runtime_of
from agent.loop.inline_runner import InlineRunner, Operator, agrees
from agent.loop.run_dependencies import Hosts
from agent.models.chat_model import ChatModel
from agent.project.guards import Guards
from agent.project.project import Project
from agent.run.budgets import Prices
from agent.run.journal import all_events, new_id
from agent.serve.factories import local_lookup
from agent.store import memory_journal
from flightloop.content import Part, TextPart, text_of
from flightloop.events import RunCreated
from flightloop.readings import ImageReading
from flightloop.runs import Approval, Run, RunStatus
from guardrails.policy import Policy, unbound, unhurried
from guardrails.types import Guarding

NAME = "eval"
"""Name of the worker, also recorded as the person who decides about approvals."""
DENIED = "the task says so"
"""Reason given for denials; the agent reads it."""


@dataclass(frozen=True)
class Played:
    """Result of one attempt at a task."""

    task: Task
    where: str
    """Place of the task, ``file:line``."""
    problems: tuple[str, ...]
    """Reasons why the task was not solved; empty if it was."""
    exchanges: tuple[Exchange, ...] = ()
    off_the_record: int = 0
    """Number of calls for which a recorded task contains no result."""

    @property
    def solved(self) -> bool:
        return not self.problems

    @property
    def runs(self) -> list[Run]:
        return [exchange.run for exchange in self.exchanges]


@dataclass(frozen=True)
class Model:
    """The evaluated model."""

    chat: ChatModel
    name: str
    prices: Prices = field(default_factory=Prices)
    where: str = ""
    """URL of the server, and the setting that it comes from."""


class Player:
    """Runs one task at a time, each with a temporary data folder and journal.

    Args:
        make_hosts: creates tool hosts that run the project's tools on a data folder; started for the first task that
            needs them.
        make_guard: compiles a policy, which gives rails so much time that a busy machine changes no outcome.
        fill: puts the initial data into a task's folder, before its setup.
        make_images: creates what takes in images of turns; called for the first turn.
    """

    def __init__(
        self,
        project: Project,
        model: Model,
        make_hosts: Callable[[Project, Path], OwnedHosts],
        make_guard: Callable[[Policy], Guarding],
        fill: Callable[[Path], None],
        make_images: Callable[[Path], Images],
    ) -> None:
        self._project = project
        self._model = model
        self._make_hosts = make_hosts
        self._guards = Guards(lambda policy: make_guard(unhurried(policy)))
        # Recorded results were given to this subject; the evidence about their owners is not recorded.
        self._unbound = Guards(lambda policy: make_guard(unbound(unhurried(policy))))
        self._fill = fill
        self._hosts: Hosts | None = None
        self._make_images = make_images
        self._images: Images | None = None
        self._stack = AsyncExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="flightloop-eval-"))).resolve()

    async def __aenter__(self) -> Player:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def play(self, task: Task, where: str) -> Played:
        """Sends the task's turns in one session, each after the answer to the previous one.

        Invalid SQL counts as a problem of this task, so that the other tasks still run.

        Raises:
            NotFound: the project has no such agent.
        """
        with TemporaryDirectory(dir=self._folder) as folder:
            data = Path(folder)
            self._fill(data)
            try:
                prepare(data, task)
            except TaskError as error:
                return Played(task, where, (f"{where}: {error}",))
            if task.recorded is None:
                operator: Operator = agrees if task.approve else _denies
                return await self._converse(task, where, data, await self._performing(), operator)
            recording = Recording(self._project.registry, task.recorded)
            operator = recording.operator if task.approve else _denies
            played = await self._converse(task, where, data, recording, operator)
            return replace(played, off_the_record=recording.off_the_record)

    async def _converse(self, task: Task, where: str, data: Path, hosts: Hosts, operator: Operator) -> Played:
        agent, lookup = self._project.agent(task.agent), local_lookup(data, self._project.data)

        def runtime(run: Run) -> AgentRuntime:
            recorded = task.recorded is not None
            guards = self._unbound if recorded else self._guards
            return runtime_of(self._project, run, hosts, guards, lookup, recorded=recorded)

        journal = memory_journal()
        runner = InlineRunner(journal, runtime, data, NAME, self._model.prices)
        session, answer = new_id("ses"), ""
        exchanges: list[Exchange] = []
        problems: list[str] = []

        async def say(content: list[Part], readings: list[ImageReading]) -> Run:
            created = RunCreated(
                agent=agent.name,
                session_id=session,
                subject=task.subject,
                input=content,
                readings=readings,
                budget=agent.budget.budget(),
                policy_sha256=self._project.policy_of(agent).sha256,
            )
            run = (await runner.run(created, self._model.chat, self._model.name, operator)).run
            exchanges.append(Exchange(run, tuple(await all_events(journal, run.tenant_id, run.id))))
            return run

        for number, turn in enumerate(task.turns, 1):
            try:
                content, readings = await self._input_of(turn, turn.text(answer), task, data)
            except TaskError as error:
                return Played(task, where, (*problems, f"{where}: {error}"), tuple(exchanges))
            first = len(exchanges)
            run = await say(content, readings)
            while task.says_yes(run, len(exchanges) - first - 1):
                run = await say([TextPart(text=YES)], [])
            problems += _problems_of_turn(task, where, data, number, exchanges[first:])
            answer = text_of(run.output or [])
        return Played(task, where, (*problems, *_problems(task, where, data, exchanges)), tuple(exchanges))

    async def _input_of(self, turn: Turn, text: str, task: Task, data: Path) -> tuple[list[Part], list[ImageReading]]:
        if self._images is None:
            self._images = self._make_images(self._folder)
            self._stack.push_async_callback(self._images.close)
        return await input_of(turn, text, task, data, self._images, self._model.chat)

    async def _performing(self) -> Hosts:
        if self._hosts is None:
            hosts = self._make_hosts(self._project, self._folder)
            self._stack.push_async_callback(hosts.close)
            self._hosts = await hosts.__aenter__()
        return self._hosts


def _denies(approval: Approval) -> str:
    return DENIED


def _problems_of_turn(
    task: Task, where: str, data: Path, number: int, exchanges: Sequence[Exchange]
) -> tuple[str, ...]:
    try:
        return judge_turn(data, task, number, Transcript.of(exchanges))
    except TaskError as error:
        return (f"{where}: turn {number}: {error}",)


def _problems(task: Task, where: str, data: Path, exchanges: Sequence[Exchange]) -> tuple[str, ...]:
    last = exchanges[-1].run
    try:
        problems = judge(data, task, Transcript.of(exchanges)).problems
    except TaskError as error:
        problems = (f"{where}: {error}",)
    told = task.ends is not None or last.status is RunStatus.SUCCEEDED
    return problems if told or not problems else (*problems, ending(last))
