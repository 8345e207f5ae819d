"""Worker deployment on Ray: a fixed number of replicas, each with one worker."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog
from ray import serve
from ray.serve.handle import DeploymentHandle

from agent.config import Settings
from agent.serve.connections import API, connect_model, metrics_sink
from agent.serve.factories import live_project, make_guards, make_runtimes, make_worker, open_journal, seed_data
from agent.serve.garbage_collection import settle
from agent.serve.logs import log_to_file
from flightloop.events import DeltaEvent
from observability.metrics import Metrics
from observability.reporter import Reporter
from observability.system import SystemSampler
from observability.tracing import Tracing, close, setup

log = structlog.get_logger(__name__)
BACKLOG = 10_000
"""Deltas that wait for the API. Of more, as while its replica is replaced, the oldest are dropped."""


class ApiDeltas:
    """Forwards released text to the API, which streams it to clients. Text that accumulates is sent in one call.

    Implements ``agent.run.deltas.Deltas``.
    """

    def __init__(self, api: DeploymentHandle[Any], backlog: int = BACKLOG) -> None:
        self._api = api
        self._pending: deque[DeltaEvent] = deque(maxlen=backlog)
        self._sender: asyncio.Task[None] | None = None

    def publish(self, delta: DeltaEvent) -> None:
        self._pending.append(delta)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._pending:
            batch = list(self._pending)
            self._pending.clear()
            try:
                await self._api.publish.remote(batch)
            except Exception as error:  # deltas are not durable: readers of the journal miss nothing
                log.warning("released text could not be forwarded", error=str(error))


class WorkerHost:
    """Hosts one worker.

    Args:
        settings: settings of the deployment, with absolute paths.
        handle: the model's deployment; None when the model is remote.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings, handle: DeploymentHandle[Any] | None
    ) -> None:
        log_to_file(settings, "worker")
        metrics = Metrics("worker")
        model, name = await connect_model(settings, handle, metrics)
        self._journal = open_journal(settings)
        seed_data(settings)
        self._runtimes = make_runtimes(
            settings, live_project(settings), make_guards(settings, model, name, self._journal.policies)
        )
        await self._runtimes.prepare()
        deltas = ApiDeltas(serve.get_deployment_handle(API, serve.get_replica_context().app_name))
        self._provider = setup(settings.observability().tracing)
        self._worker = make_worker(
            settings,
            self._journal,
            self._runtimes,
            model,
            name,
            deltas,
            Tracing(self._provider, settings.trace_content),
        )
        self._reporter = Reporter(metrics, metrics_sink(), sample=SystemSampler(metrics).sample).start()
        self._task = asyncio.create_task(self._worker.run())
        settle()

    def check_health(self) -> None:
        """Raises the error that ended the worker, so that Serve replaces this replica."""
        if self._task.done():
            self._task.result()
            raise RuntimeError("the worker has ended")

    async def __del__(self) -> None:
        self._worker.drain()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._runtimes.close()
        await self._journal.close()
        await asyncio.to_thread(close, self._provider)
        await asyncio.to_thread(self._reporter.close)  # last, because it fails if the aggregator has ended
