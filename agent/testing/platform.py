"""Test platform in a thread of this process: the real API, journal rules and worker, with a scripted model.

The journal is in memory, tools run in this process, rails have ten minutes (a test must not depend on how busy
the machine is), and the API answers on a free port of 127.0.0.1::

    with Platform(project_of([agent], [find], [policy]), model) as platform:
        client = Flightloop(platform.url, platform.api_key)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar

from opentelemetry.sdk.trace import TracerProvider

from agent.api import create_app
from agent.api.auth import DEFAULT_TENANT, Keyring, Persons
from agent.loop.agent_runtime import AgentRuntimes
from agent.loop.local_hosts import LocalHosts
from agent.loop.worker import Worker, WorkerConfig
from agent.project.agent_spec import AgentSpec
from agent.project.catalogue import ProjectCatalogue
from agent.project.project import Project
from agent.run.budgets import TenantBudgets
from agent.run.deltas import LocalDeltas
from agent.run.journal import all_events
from agent.run.lease import Lease
from agent.serve.code_scan import code_scan
from agent.serve.http_server import bind, running
from agent.store.journal import StoreJournal, utcnow
from agent.store.memory import MemoryBackend
from agent.testing.api import KEY, api_deps
from agent.testing.fakes import AnsweringChatModel
from agent.testing.images import local_images
from flightloop.events import DeltaEvent, RunEvent
from flightloop.overview import Overview
from flightloop.runs import ProjectInfo, Run, RunStatus
from flightloop.tool import Tool, tool_of
from guardrails.guard import Guard
from guardrails.interrupt import InterruptSnapshot, InterruptWatch
from guardrails.policy import Policy, default_policy, unhurried
from observability.tracing import Tracing
from tools.describe import LoadedTools
from tools.host import ToolHosts
from tools.registry import Registry

T = TypeVar("T")
ANSWER_S = 60.0
"""Maximum seconds that a test waits for the platform's thread."""


def project_of(
    agents: Sequence[AgentSpec] = (), tools: Sequence[Callable[..., Any]] = (), policies: Sequence[Policy] = ()
) -> Project:
    """A project without files. The default policy is added, as for projects with files."""
    declared: list[Tool] = [found for function in tools if (found := tool_of(function))]
    registry = Registry(declared)
    known = {policy.name: policy for policy in (*policies, default_policy())}
    named = {agent.name: agent for agent in agents}
    return Project(Path(), named, known, LoadedTools((), {}, registry), registry, tools_sha256="")


def _guard(policy: Policy) -> Guard:
    return Guard(unhurried(policy), code_scan=code_scan)


@dataclass
class FixedProject:
    """Implements ``agent.project.project.CurrentProject``; tests replace its parts."""

    project: Project
    status: ProjectInfo = field(default_factory=lambda: ProjectInfo(loaded_at=utcnow()))

    def current(self) -> Project:
        return self.project

    def info(self) -> ProjectInfo:
        return self.status


class Platform:
    """A platform that serves while its context is open.

    Args:
        figures: returns the metrics of all tiers for ``GET /v1/overview``.
        data: folder of the tools' data.
        keys: further tenants by API key.
        persons: accepts tokens of persons as keys.
        clock: clock of the journal and the worker.
        port: port of the API; 0: a free one.
        hosts: makes the hosts of a project's tools; by default, tools run in this process without a sandbox.
    """

    api_key = KEY
    """API key of an admin of the tenant ``default``."""

    def __init__(
        self,
        project: Project,
        model: AnsweringChatModel,
        *,
        figures: Callable[[], dict[str, Any]] = dict,
        data: Path = Path(),
        keys: Mapping[str, str] | None = None,
        persons: Persons | None = None,
        clock: Callable[[], datetime] = utcnow,
        port: int = 0,
        hosts: Callable[[Project], LocalHosts | ToolHosts] = lambda project: LocalHosts(project.registry.tools()),
    ) -> None:
        self.project = FixedProject(project)
        self.model = model
        self.backend = MemoryBackend()
        self.journal = StoreJournal(self.backend, clock=clock, poll_s=0.01)
        self.url = ""
        self._figures, self._data, self._clock, self._port, self._hosts = figures, data, clock, port, hosts
        self._deltas = LocalDeltas()
        self._name = model.cards[0].id
        self._app = create_app(
            api_deps(
                journal=self.journal,
                keys=self.journal.keys,
                keyring=Keyring({KEY: DEFAULT_TENANT, **(keys or {})}, self.journal.keys, persons),
                catalogue=ProjectCatalogue(self.project, _guard, self._name),
                model=model,
                deltas=self._deltas,
                overview=self._overview,
                images=local_images(),
            )
        )
        self._leases: dict[str, Lease] = {}
        self._worker: tuple[Worker, AgentRuntimes, asyncio.Task[None]] | None = None

    def __enter__(self) -> Self:
        started: Future[str] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._serve(started)), name="test-platform", daemon=True)
        self._thread.start()
        self.url = started.result(ANSWER_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(ANSWER_S)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the platform's event loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)

    def rest(self) -> None:
        """Stops the worker, which releases its runs."""
        self.do(self._rest())

    def work(self) -> None:
        """Starts a worker again."""
        self.do(self._work())

    def bound(self, tenants: TenantBudgets) -> None:
        """Sets the budgets of tenants."""
        self._app.state.deps = replace(self._app.state.deps, tenants=tenants)

    def settled(self, run_id: str, tenant_id: str = DEFAULT_TENANT) -> Run:
        """Waits until the run has ended or waits for a person, and returns it."""

        async def found() -> Run:
            run = await self.journal.get(tenant_id, run_id)
            while not (run.status.terminal or run.status is RunStatus.WAITING_APPROVAL):
                await self.journal.wait(run.id, run.last_seq, ANSWER_S)
                run = await self.journal.get(tenant_id, run_id)
            return run

        return self.do(found())

    def events(self, run_id: str, tenant_id: str = DEFAULT_TENANT) -> list[RunEvent]:
        return self.do(all_events(self.journal, tenant_id, run_id))

    def write(self, run_id: str, *events: RunEvent) -> Run:
        """Appends events to a run in place of the worker, which must be stopped. The first call claims the run."""

        async def written() -> Run:
            run = await self.journal.get(DEFAULT_TENANT, run_id)
            if run.status is RunStatus.QUEUED:
                claim = await self.journal.claim("test", ANSWER_S)
                assert claim is not None
                assert claim.run.id == run_id, "another run is older"
                run, self._leases[run_id] = claim.run, claim.lease
            if events:
                run = (await self.journal.append(run_id, events, self._leases[run_id])).state.run
            return run

        return self.do(written())

    def say(self, run_id: str, text: str) -> None:
        """Publishes text of a run's answer, as a worker does while the model decodes it."""
        self._loop.call_soon_threadsafe(self._deltas.publish, DeltaEvent(run_id=run_id, text=text))

    async def _serve(self, started: Future[str]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with running(self._app, bind("127.0.0.1", self._port), grace_s=1) as url:
                await self._work()
                started.set_result(url)
                await self._end.wait()
                self._app.state.deps.closing.set()
                await self._rest()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _work(self) -> None:
        runtimes = AgentRuntimes(self.project, _guard, self._hosts)
        worker = Worker(
            self.journal,
            runtimes,
            self.model,
            self._name,
            InterruptWatch(self._stops, ANSWER_S),
            self._deltas,
            Tracing(TracerProvider(shutdown_on_exit=False)),
            self._data,
            config=WorkerConfig(poll_s=0.05, grace_s=0.1),
            clock=self._clock,
        )
        self._worker = worker, runtimes, asyncio.create_task(worker.run())

    async def _rest(self) -> None:
        if self._worker is not None:
            (worker, runtimes, task), self._worker = self._worker, None
            worker.drain()
            await task
            await runtimes.close()

    def _stops(self) -> InterruptSnapshot:
        return self.do(self.journal.interrupt_snapshot())

    async def _overview(self, tenant_id: str) -> Overview:
        runs = await self.journal.runs(tenant_id, limit=1000)
        return Overview(
            at=datetime.now(UTC),
            runs=Counter(run.status.value for run in runs.data),
            pending_approvals=await self.journal.pending_approvals(tenant_id),
            interrupts=await self.journal.interrupts(tenant_id),
            **self._figures(),
        )
